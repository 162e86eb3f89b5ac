"""The main pass: scores of every method for every cluster, and how well they predict ablations."""
