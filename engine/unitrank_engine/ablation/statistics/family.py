"""Verdicts over several clusters, and corrections for several clusters and rankings.

A ranking can have an order of its own in each cluster. A relabelled control has the same orders
with the units exchanged: in each cluster, unit i has the position of unit σ(i). The permutation σ
is the same in all clusters, so the control's drops in two clusters depend on each other as the
ranking's drops do.

- z: the R + 1 drops of a cluster (the ranking's drop, then the drops of its R controls),
  standardised to mean 0 and deviation 1. Each cluster thus has equal weight.
- T: the sum of z over the clusters. The overall p-value is the share of the R + 1 sums that are at
  least the ranking's sum.
- p_family: the p-value corrected for the number of clusters, or of rankings, by a step-down: the
  largest value is compared with the largest value of each control; the next one with the largest
  of the remaining values (Westfall and Young 1993, algorithm 2.8).

These functions are plain arithmetic on small arrays.
"""

import numpy as np
from jaxtyping import Float

from unitrank_engine.ablation.statistics.verdict import Chance, chance

FLAT = 1e-12
"""Drops whose deviation is a smaller share of the largest |drop| differ by rounding only."""


def standardised(drops: Float[np.ndarray, "orders tests"]) -> Float[np.ndarray, "orders tests"]:
    """Return z: each column with mean 0 and deviation 1 over the orders.

    It is 0 where all drops are equal.

    >>> standardised(np.array([[3.0, 7.0], [1.0, 7.0]]))
    array([[ 1.,  0.],
           [-1.,  0.]])
    """
    centred = drops - drops.mean(0)
    deviation = centred.std(0)
    flat = deviation <= FLAT * np.abs(drops).max(0)
    return np.asarray(np.divide(centred, deviation, out=np.zeros_like(centred), where=~flat))


def over_clusters(drops: Float[np.ndarray, "orders clusters"]) -> Float[np.ndarray, " orders"]:
    """Return T of the ranking and of each control: the sum of z over the clusters."""
    return np.asarray(standardised(drops).sum(1))


def place(values: Float[np.ndarray, " orders"]) -> Chance:
    """Return the place of the ranking's value, the first one, among those of its controls."""
    return chance(float(values[0]), values[1:])


def step_down(z: Float[np.ndarray, "orders tests"]) -> Float[np.ndarray, " tests"]:
    """Return the p-value of each test, corrected for the number of tests.

    With noise, at most the share p of jobs has a test with a corrected p-value of at most p.

    >>> step_down(np.array([[1.5, 0.2], [0.1, 0.3], [0.2, 0.1], [0.0, 1.0]]))
    array([0.25, 0.75])
    """
    order = np.argsort(-z[0], kind="stable")
    # Column j: each control's largest value among the tests from the j-th largest one on.
    largest = np.maximum.accumulate(z[1:, order[::-1]], axis=1)[:, ::-1]
    p = (1 + (largest >= z[0, order]).sum(0)) / len(z)
    corrected = np.empty(z.shape[1])
    corrected[order] = np.maximum.accumulate(p)
    return corrected
