"""Finds the clusters of a job: the rows that are ranked together.

- `finders` finds the rows of each cluster.
- `holdout` divides each cluster into a half that ranks and a half that tests.
- `membership` lists the clusters of each example.
"""
