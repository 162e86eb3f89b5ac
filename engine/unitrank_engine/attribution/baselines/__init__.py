"""Scores of examples that have several baselines: their mean, and how far the baselines agree."""
