"""The table over the layers of a result: where in the network a cluster is decided."""

from collections.abc import Iterable
from dataclasses import dataclass
from math import inf
from statistics import fmean, median_low

from unitrank_schemas.results import LayeredResult, LayerResult, Ranking, Verdict


@dataclass(frozen=True)
class LayerRow:
    """One layer, judged by its best ranking; None where the job did not compute a value.

    Attributes:
        layer: name of the layer; `joint` for the units of all layers together.
        units: number of units.
        best: id of the first ranking of the layer's leaderboard.
        verdict: its verdict over all clusters.
        robust: whether the verdict is better than random and has no doubts.
        p: its p-value over all clusters, corrected for all rankings of the job.
        area: its area over all clusters.
        selectivity: mean selectivity of the clusters.
        units_for_90: median over the clusters of the number of units that keep 90 % of the score.
        warnings: number of the layer's own warnings.
    """

    layer: str
    units: int
    best: str
    verdict: Verdict | None
    robust: bool | None
    p: float | None
    area: float | None
    selectivity: float | None
    units_for_90: int | None
    warnings: int


def layer_rows(result: LayeredResult) -> list[LayerRow]:
    """The rows of the layers in the order of the request, then that of `joint`.

    A selected part of a result may leave out all rankings of a layer, and so its row.
    """
    return [layer_row(name, part) for name, part in result.parts().items() if part.rankings]


def layer_row(name: str, part: LayerResult) -> LayerRow:
    """The row of one layer. `name`: that of the layer, or `joint`."""
    leader = part.leaderboard[0] if part.leaderboard else None
    best = next(each for each in part.rankings if leader is None or each.id == leader.ranking)
    return LayerRow(
        layer=name,
        units=part.layer.count,
        best=best.id,
        verdict=leader.verdict if leader else None,
        robust=leader.robust if leader else None,
        p=best.overall.deciding_p if best.overall else None,
        area=leader.area if leader else None,
        selectivity=mean_selectivity(best),
        units_for_90=median_units_for_90(best),
        warnings=len(part.warnings),
    )


def median_units_for_90(ranking: Ranking) -> int | None:
    """The median of `units_for_90` over the clusters; null counts as more than all units."""
    tests = [each.ablation for each in ranking.clusters.values() if each.ablation]
    counts = [inf if test.units_for_90 is None else test.units_for_90 for test in tests]
    median = median_low(counts) if counts else inf
    return None if median == inf else int(median)


def mean_selectivity(ranking: Ranking) -> float | None:
    """The mean of the selectivities of the clusters."""
    return _mean(ranking.specificity.selectivity.values()) if ranking.specificity else None


def _mean(values: Iterable[float | None]) -> float | None:
    numbers = [value for value in values if value is not None]
    return fmean(numbers) if numbers else None
