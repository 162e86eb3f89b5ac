"""Agreement of rankings: how similar the importances of two rankings are.

For importances a and b over the units of a cluster: the rank correlation, the linear correlation,
the cosine, and the number of units that both have in their top. Each is averaged over the clusters
where neither side is constant. Over all clusters and units together: the scale s with the smallest
Σ (a − s·b)², and max |a − s·b| / max |a|.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from jaxtyping import Bool, Float
from scipy import stats

from unitrank_schemas import results as schema

TOP = 20
"""Units that are compared by `top_overlap`."""

Matrix = Float[np.ndarray, "rankings rankings"]
OfCluster = Callable[[int], Float[np.ndarray, "rankings units"]]
"""Returns the importances of all rankings on the cluster with this number."""


def agreements(rankings: Sequence[schema.Ranking], clusters: int, of_cluster: OfCluster) -> list[schema.Agreement]:
    """Return the agreement of each pair of rankings of one target class.

    Given scores are always `a`; other pairs are in the order of `rankings`.
    """
    pairs = _pairs(rankings)
    if not pairs:
        return []
    totals = _Totals.of(len(rankings), clusters, of_cluster)
    differences = _differences(pairs, totals, clusters, of_cluster)
    return [
        schema.Agreement(
            a=rankings[a].id,
            b=rankings[b].id,
            spearman=totals.mean(totals.spearman, a, b),
            pearson=totals.mean(totals.pearson, a, b),
            cosine=totals.mean(totals.cosine, a, b),
            scale=totals.scale(a, b),
            relative_difference=difference,
            top_overlap=float(totals.overlap[a, b] / clusters),
        )
        for (a, b), difference in zip(pairs, differences, strict=True)
    ]


def _pairs(rankings: Sequence[schema.Ranking]) -> list[tuple[int, int]]:
    order = sorted(range(len(rankings)), key=lambda index: rankings[index].method["name"] != "given")
    return [(a, b) for a, b in combinations(order, 2) if rankings[a].target_class == rankings[b].target_class]


@dataclass(frozen=True)
class _Totals:
    """Sums over clusters, for each pair of rankings."""

    largest: Float[np.ndarray, " rankings"]
    """max |a| over clusters and units."""
    spearman: Matrix
    pearson: Matrix
    cosine: Matrix
    overlap: Matrix
    compared: Matrix
    """The number of clusters in which neither ranking is constant."""
    products: Matrix
    """Σ a·b over clusters and units."""

    @classmethod
    def of(cls, rankings: int, clusters: int, of_cluster: OfCluster) -> "_Totals":
        totals = cls(np.zeros(rankings), *(np.zeros((rankings, rankings)) for _ in range(6)))
        for cluster in range(clusters):
            totals.add(of_cluster(cluster))
        return totals

    def add(self, importance: Float[np.ndarray, "rankings units"]) -> None:
        """Add a cluster."""
        varies = np.ptp(importance, axis=1) > 0
        self.compared[...] += np.outer(varies, varies)
        self.spearman[...] += _cosines(_centred(stats.rankdata(importance, axis=1)), varies)
        self.pearson[...] += _cosines(_centred(importance), varies)
        self.cosine[...] += _cosines(importance, varies)
        highest = _highest(importance).astype(float)
        self.overlap[...] += highest @ highest.T
        self.products[...] += importance @ importance.T
        np.maximum(self.largest, np.abs(importance).max(1), out=self.largest)

    def mean(self, total: Matrix, a: int, b: int) -> float | None:
        """Return the mean over the clusters in which neither is constant; None without one."""
        return float(total[a, b] / self.compared[a, b]) if self.compared[a, b] else None

    def scale(self, a: int, b: int) -> float | None:
        """Return the least-squares scale; None where b is zero."""
        return float(self.products[a, b] / self.products[b, b]) if self.products[b, b] else None


def _differences(pairs: Sequence[tuple[int, int]], totals: _Totals, clusters: int, of_cluster: OfCluster) -> list[float | None]:
    """Return max |a − s·b| / max |a| of each pair; None where a is zero."""
    largest = np.zeros(len(pairs))
    for cluster in range(clusters):
        importance = of_cluster(cluster)
        for index, (a, b) in enumerate(pairs):
            difference = importance[a] - (totals.scale(a, b) or 0.0) * importance[b]
            largest[index] = max(largest[index], np.abs(difference).max())
    sizes = [totals.largest[a] for a, _ in pairs]
    return [float(value / size) if size else None for value, size in zip(largest, sizes, strict=True)]


def _centred(values: Float[np.ndarray, "rankings units"]) -> Float[np.ndarray, "rankings units"]:
    return np.asarray(values - values.mean(1, keepdims=True))


def _cosines(values: Float[np.ndarray, "rankings units"], varies: Bool[np.ndarray, " rankings"]) -> Matrix:
    """Return the cosine of each pair of rows; 0 where one is constant."""
    lengths = np.linalg.norm(values, axis=1, keepdims=True)
    directions = np.divide(values, lengths, out=np.zeros_like(values), where=varies[:, None] & (lengths > 0))
    return np.asarray(np.clip(directions @ directions.T, -1.0, 1.0))


def _highest(importance: Float[np.ndarray, "rankings units"]) -> Bool[np.ndarray, "rankings units"]:
    """Mark each ranking's highest units, in the order of the summary's `top`."""
    order = np.argsort(-importance.astype(np.float32), axis=1, kind="stable")[:, :TOP]
    marked = np.zeros(importance.shape, bool)
    np.put_along_axis(marked, order, True, axis=1)
    return marked
