"""How much of a ranking depends on the model's weights.

weights_matter = mean over draws of 1 − (area of the permuted ranking − random area) / (area of the
ranking − random area). Each draw permutes the weights behind the place; the permuted ranking is
tested on the true model. All areas are Σ D / Σ (S₀ − S_n) over the clusters where S₀ − S_n is not
close to zero. Near 1: with other weights, the method orders the units no better than at random.
Near 0: the method gives as good an order without the model's weights, for example from the
activations alone.

Cost: three main passes, and one order with its counts for each ranking and draw.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class ClusterDrops:
    """The drops of one ranking and of its permuted rankings on each cluster.

    NaN for clusters where S₀ − S_n is close to zero.
    """

    true: np.ndarray
    """D of the ranking, `[clusters]`."""
    permuted: np.ndarray
    """D of each permuted ranking, `[draws, clusters]`."""
    totals: np.ndarray
    """S₀ − S_n, `[clusters]`."""


def weights_matter(drops: ClusterDrops, random_areas: Sequence[float | None]) -> float | None:
    """Return the share of the ranking's area above random that the permuted rankings lack.

    `random_areas`: the area of the random orders in each cluster; None without random orders.

    None where the ranking's area is not above that of random orders.

    >>> drops = ClusterDrops(np.array([8.0]), np.array([[2.0], [5.0], [2.0]]), totals=np.array([10.0]))
    >>> round(weights_matter(drops, [0.2]), 3)
    0.833
    """
    pooled = np.isfinite(drops.totals)
    areas = [area for area, counts in zip(random_areas, pooled, strict=True) if counts and area is not None]
    if not pooled.any() or len(areas) < pooled.sum():
        return None
    total = drops.totals[pooled].sum()
    random = (np.array(areas) * drops.totals[pooled]).sum() / total
    area, permuted = drops.true[pooled].sum() / total, drops.permuted[:, pooled].sum(1) / total
    return float((1 - (permuted - random) / (area - random)).mean()) if area > random else None
