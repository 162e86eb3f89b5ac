"""Fits of given scores to those of a ranking: with one factor, or with one for each cluster."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

TOLERANCE = 1e-3
"""Largest difference of equal scores, as a share of the largest score."""
CHANCE = 1e-3
"""Largest probability that scores of a random direction fit."""


@dataclass(frozen=True)
class Fit:
    """Factors with which scores b become the given scores a, and the difference that remains."""

    error: float
    """max |a − s·b| / max |a|; infinite where no factor can fit."""
    factors: Float[np.ndarray, " clusters"]
    """NaN for clusters where both sides are zero."""
    freedom: int
    """The number of values that a must match beyond the factors."""

    def holds(self, tried: int = 1) -> bool:
        """Return whether the scores fit, and not by chance. `tried`: the number of fits tried."""
        return self.error <= tolerance(self.freedom, tried)


NO_FIT = Fit(np.inf, np.ones(1), 0)


def tolerance(freedom: int, tried: int = 1) -> float:
    """Return the largest error that counts as equal.

    One vector among `tried` is near a random direction with a probability of about
    tried · (4 · error) ** freedom. So few values need a smaller error than `TOLERANCE`.
    """
    return float(min(TOLERANCE, (CHANCE / tried) ** (1 / freedom) / 4)) if freedom > 0 else -1.0


def values(a: Float[np.ndarray, " units"]) -> int:
    """Return the number of scores that are not close to zero."""
    return int((np.abs(a) > TOLERANCE * np.abs(a).max()).sum()) if a.any() else 0


def difference(a: Float[np.ndarray, "clusters units"], b: Float[np.ndarray, "clusters units"]) -> float:
    """Return max |a − b| / max |a|."""
    return float(np.abs(a - b).max() / np.abs(a).max())


def fit_together(a: Float[np.ndarray, "clusters units"], b: Float[np.ndarray, "clusters units"]) -> Fit:
    """Return the fit with one least-squares factor for all clusters. a is not zero."""
    size = float((b * b).sum())
    if size == 0.0:
        return NO_FIT
    factor = float((a * b).sum()) / size
    return Fit(difference(a, factor * b), np.full(len(a), factor), sum(map(values, a)) - 1)


def fit_by_cluster(a: Float[np.ndarray, "clusters units"], b: Float[np.ndarray, "clusters units"]) -> Fit:
    """Return the fit with a factor for each cluster; all factors have the same sign.

    A cluster counts where a or b is not zero.
    """
    counted = (np.abs(a) + np.abs(b)).any(1)
    a, b = a[counted], b[counted]
    sizes = (b * b).sum(1)
    if not len(a) or not sizes.all() or not a.any(1).all():
        return NO_FIT
    factors = (a * b).sum(1) / sizes
    if len(set(np.sign(factors))) != 1 or not factors.all():
        return NO_FIT
    error = max(difference(x[None], factor * y[None]) for x, y, factor in zip(a, b, factors, strict=True))
    every = np.full(counted.shape, np.nan)
    every[counted] = factors
    return Fit(error, every, sum(map(values, a)) - len(a))
