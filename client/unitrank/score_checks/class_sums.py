"""Compares scores with the sum of a method's scores over all classes: `output.sum().backward()`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from unitrank.results import JobResult

if TYPE_CHECKING:
    from numpy.typing import NDArray

TOLERANCE = 1e-3
"""Largest difference of equal scores, as a share of the largest score."""


def sum_of_classes(results: Sequence[JobResult], given: str, methods: Sequence[str]) -> tuple[str, float] | None:
    """The method whose scores, added over the classes, are the given ones, and the factor.

    Args:
        results: a result for each class.
        given: id of the ranking with the given scores.
        methods: ids of rankings whose scores are linear in the target.

    Returns None if there is no such method.
    """
    import numpy as np

    scores = results[0].arrays[f"importance/{given}"].astype(float)
    for method in methods:
        total = np.sum([result.arrays[f"importance/{method}"].astype(float) for result in results], axis=0)
        factor = _factor(scores, total)
        if factor is not None:
            return method, factor
    return None


def _factor(a: NDArray[Any], b: NDArray[Any]) -> float | None:
    """The s with max |a − s·b| ≤ 1e-3 · max |a|; None if no factor fits.

    None for fewer than three scores, which could fit by chance.
    """
    size = float((b * b).sum())
    if size == 0.0 or (abs(a) > TOLERANCE * abs(a).max()).sum() < 3:
        return None
    factor = float((a * b).sum()) / size
    return factor if factor and abs(a - factor * b).max() <= TOLERANCE * abs(a).max() else None
