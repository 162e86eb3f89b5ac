"""Spearman's rank correlation of two orders of the same units."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


def ranks(values: NDArray[Any]) -> NDArray[np.float64]:
    """The rank of each value, from 1; equal values share the mean of their ranks."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return np.asarray((ends - (counts - 1) / 2)[inverse], np.float64)


def spearman(first: NDArray[Any], second: NDArray[Any]) -> float | None:
    """The correlation of the ranks; None if all values of one array are equal."""
    left, right = (ranks(values) - (len(values) + 1) / 2 for values in (first, second))
    scale = float(np.sqrt((left**2).sum() * (right**2).sum()))
    return float((left * right).sum()) / scale if scale else None


def spearman_matrix(rankings: Sequence[NDArray[Any]]) -> NDArray[np.float64]:
    """The correlation of each pair of rankings; NaN for a ranking whose values are all equal."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.corrcoef([ranks(values) for values in rankings]), np.float64)
