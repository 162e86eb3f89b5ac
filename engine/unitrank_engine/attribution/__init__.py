"""The main pass: scores of every method, their sums by cluster, and their fidelity."""
