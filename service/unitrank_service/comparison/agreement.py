"""The agreement of two rankings of two results, cluster by cluster.

The numbers are those of `unitrank_engine.result.agreement`, which compares rankings of one result.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unitrank_plots.rank_correlation import ranks
from unitrank_tables.top_units import highest

TOP = 20
"""Units that `top_overlap` compares."""
Vector = NDArray[np.float64]
Pairs = Sequence[tuple[NDArray[Any], NDArray[Any]]]
"""The importances of both rankings in each cluster. Any: real numbers of any width."""


@dataclass(frozen=True)
class Agreed:
    """The fields of `unitrank_schemas.results.Agreement` without the names of the rankings."""

    spearman: float | None
    pearson: float | None
    cosine: float | None
    scale: float | None
    relative_difference: float | None
    top_overlap: float


def agreement(pairs: Pairs) -> Agreed:
    """Return the agreement over one cluster or more."""
    products = sum(float(np.dot(a.astype(np.float64), b.astype(np.float64))) for a, b in pairs)
    squares = sum(float(np.square(b, dtype=np.float64).sum()) for _, b in pairs)
    scale = products / squares if squares else None
    largest = max(float(np.abs(a).max()) for a, _ in pairs)
    varying = [(a.astype(np.float64), b.astype(np.float64)) for a, b in pairs if np.ptp(a) > 0 and np.ptp(b) > 0]
    difference = max(float(np.abs(a.astype(np.float64) - (scale or 0.0) * b).max()) for a, b in pairs)
    return Agreed(
        spearman=_mean([_cosine(_centred(ranks(a)), _centred(ranks(b))) for a, b in varying]),
        pearson=_mean([_cosine(_centred(a), _centred(b)) for a, b in varying]),
        cosine=_mean([_cosine(a, b) for a, b in varying]),
        scale=scale,
        relative_difference=difference / largest if largest else None,
        top_overlap=fmean(len(np.intersect1d(highest(a, TOP), highest(b, TOP))) for a, b in pairs),
    )


def _mean(values: Sequence[float]) -> float | None:
    return fmean(values) if values else None


def _centred(values: Vector) -> Vector:
    return np.asarray(values - values.mean())


def _cosine(a: Vector, b: Vector) -> float:
    return float(np.clip(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)), -1.0, 1.0))
