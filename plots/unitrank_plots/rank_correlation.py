"""Spearman's correlation: how alike two orders of the same units are."""

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
    """The correlation of the ranks; None where all values of one side are equal."""
    one, other = (ranks(values) - (len(values) + 1) / 2 for values in (first, second))
    scale = float(np.sqrt((one**2).sum() * (other**2).sum()))
    return float((one * other).sum()) / scale if scale else None


def spearman_matrix(rankings: Sequence[NDArray[Any]]) -> NDArray[np.float64]:
    """The correlation of every two rankings; NaN for a ranking whose values are all equal."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.corrcoef([ranks(values) for values in rankings]), np.float64)
