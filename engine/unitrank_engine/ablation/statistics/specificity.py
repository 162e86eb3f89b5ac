"""Specificity: each cluster's order, tested on the examples of the other clusters.

An order that is good for every cluster finds the units that matter to the model as a whole. The
order of cluster a is specific where it does better on the examples of a than the other orders do.

- matrix[a][b]: area of the order `most` of cluster a on the test examples of cluster b
- selectivity[a]: matrix[a][a] − mean over b ≠ a of matrix[b][a]
- overall_p_value: the columns of the matrix are standardised over its rows; the trace is compared
  with the traces of the matrix with permuted rows
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations

import numpy as np
from jaxtyping import Float, Int

from unitrank_engine.ablation.statistics.comparisons import Interval, Ratio, interval
from unitrank_engine.ablation.statistics.family import standardised
from unitrank_engine.ablation.statistics.verdict import MIN_TESTED
from unitrank_schemas.results import Specificity

ALL_PERMUTATIONS_UP_TO = 7
"""Clusters up to which all permutations are compared."""
DRAWS = 9_999
"""Random permutations for more clusters."""
DRAWS_AT_ONCE = 1_111
MIN_CLUSTERS = 4
"""Clusters below which `overall_p_value` is null, because it could not be below 1/6."""
MIN_CLUSTERS_FOR_EACH = 20
"""Clusters below which each cluster's `p_value` is null, because it could not be below 0.05."""


@dataclass(frozen=True)
class ClusterCross:
    """The drops of F of every cluster's order on the test examples of one cluster."""

    name: str
    total: float | None
    """S₀ − S_n; None where the cluster's area is null."""
    all_replaced: Float[np.ndarray, " examples"]
    """F − F with all units replaced."""
    by_order: Float[np.ndarray, "clusters examples"]
    """Of each cluster's order: mean over counts of F − F with its first units replaced."""


def specificity(clusters: Sequence[ClusterCross], level: float, generator: np.random.Generator) -> Specificity | None:
    """Return the specificity of one ranking; None for fewer than two clusters.

    Clusters without a total are left out, as examples and as orders.

    `level`: the confidence level of the intervals.
    `generator`: draws the permutations for more than 7 clusters.
    """
    if len(clusters) < 2:
        return None
    usable = [index for index, cluster in enumerate(clusters) if cluster.total is not None]
    areas = np.zeros((len(usable), len(usable)))
    for column, index in enumerate(usable):
        areas[:, column] = clusters[index].by_order[usable].mean(1) / clusters[index].total
    intervals = {clusters[index].name: _selectivity(clusters[index], usable, index, level) for index in usable}
    selectivity = {name: each for name, each in intervals.items() if each is not None}
    bounded = {clusters[index].name for index in usable if len(clusters[index].all_replaced) >= MIN_TESTED}
    return Specificity(
        matrix=_with_nulls(areas, usable, len(clusters)),
        selectivity={name: each.value for name, each in selectivity.items()},
        selectivity_low={name: each.low for name, each in selectivity.items() if name in bounded},
        selectivity_high={name: each.high for name, each in selectivity.items() if name in bounded},
        p_value={clusters[index].name: value for index, value in zip(usable, _p_values(areas), strict=True)},
        overall_p_value=overall_p_value(areas, generator),
    )


def overall_p_value(areas: Float[np.ndarray, "orders clusters"], generator: np.random.Generator) -> float | None:
    """Return the share of permutations of the rows whose standardised trace is as large.

    None for fewer than 4 clusters.
    """
    clusters = len(areas)
    if clusters < MIN_CLUSTERS:
        return None
    z = standardised(areas)
    # Equal orders give equal traces, which differ by rounding.
    limit = float(np.trace(z)) - 1e-9
    if clusters <= ALL_PERMUTATIONS_UP_TO:
        traces = _traces(z, np.array(list(permutations(range(clusters)))))
        return float((traces >= limit).mean())
    as_large = 0
    for _ in range(DRAWS // DRAWS_AT_ONCE):
        rows = generator.permuted(np.tile(np.arange(clusters), (DRAWS_AT_ONCE, 1)), axis=1)
        as_large += int((_traces(z, rows) >= limit).sum())
    return (1 + as_large) / (DRAWS + 1)


def _traces(matrix: Float[np.ndarray, "orders clusters"], rows: Int[np.ndarray, "draws clusters"]) -> Float[np.ndarray, " draws"]:
    return np.asarray(matrix[rows, np.arange(len(matrix))].sum(1))


def _selectivity(cluster: ClusterCross, usable: list[int], own: int, level: float) -> Interval | None:
    """Return the selectivity with its interval; None where no other cluster has an order.

    The interval of a cluster with one test example is not defined.
    """
    others = [index for index in usable if index != own]
    if not others:
        return None
    assert cluster.total is not None
    # Differences before their mean, so that equal orders give exactly 0.
    lead = (cluster.by_order[own] - cluster.by_order[others]).mean(0)
    ratio = Ratio(lead, cluster.all_replaced, cluster.total)
    if len(lead) < MIN_TESTED:
        return Interval(ratio.mean(), np.nan, np.nan)
    return interval([ratio], level)


def _p_values(areas: Float[np.ndarray, "orders clusters"]) -> list[float | None]:
    """Return for each cluster the share of orders with an area at least that of its own order."""
    if len(areas) < MIN_CLUSTERS_FOR_EACH:
        return [None] * len(areas)
    return [float(share) for share in (areas >= np.diag(areas)).mean(0)]


def _with_nulls(areas: Float[np.ndarray, "orders clusters"], usable: list[int], clusters: int) -> list[list[float | None]]:
    """Return the matrix of all clusters, with None where a cluster is left out."""
    matrix: list[list[float | None]] = [[None] * clusters for _ in range(clusters)]
    for row, order in zip(areas.tolist(), usable, strict=True):
        for value, cluster in zip(row, usable, strict=True):
            matrix[order][cluster] = value
    return matrix
