"""The layers of a job in order: how strongly few units of each decide the score."""

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean

from unitrank_schemas.leading import leading
from unitrank_schemas.results import Control, Ranking, Result, Verdict
from unitrank_schemas.units_for_90 import median_units_for_90


@dataclass(frozen=True)
class LayerLine:
    """One layer, by one of its rankings, in one cluster or over all of them.

    `robust`: None for one cluster. `area`: the pooled area over all clusters. `noise`: its standard
    deviation for random orders; in one cluster the lead over their mean that an area needs to be
    better than random. `selectivity`: over all clusters the mean.
    `units_for_90`: the number of first units that keep 90 % of the score; over all clusters the
    median, and None where half of the clusters need more than was tested.
    """

    layer: str
    ranking: str
    verdict: Verdict | None
    robust: bool | None
    area: float | None
    noise: float | None
    selectivity: float | None
    units_for_90: int | None
    count: int

    @property
    def share_for_90(self) -> float | None:
        """The share of the layer's units that keeps 90 % of the score."""
        return None if self.units_for_90 is None else self.units_for_90 / self.count


def layer_lines(results: Mapping[str, Result], ranking: str | None = None, cluster: str | None = None) -> list[LayerLine]:
    """Return a line for each layer that has the ranking.

    `results`: layer → its result. `ranking`: None takes the ranking that each layer's verdict names
    first.
    `cluster`: None takes all together. Raises KeyError for an unknown cluster.
    """
    chosen = ((name, result, _ranking(result, ranking)) for name, result in results.items())
    return [_line(name, result, entry, cluster) for name, result, entry in chosen if entry]


def _ranking(result: Result, name: str | None) -> Ranking | None:
    if name is None:
        return leading(result)
    return next((each for each in result.rankings if each.id == name), None)


def _line(layer: str, result: Result, ranking: Ranking, cluster: str | None) -> LayerLine:
    overall, selectivity = ranking.overall, ranking.specificity.selectivity if ranking.specificity else {}
    if cluster is not None:
        study = ranking.clusters[cluster].ablation
        return LayerLine(
            layer=layer,
            ranking=ranking.id,
            verdict=study.verdict if study else None,
            robust=None,
            area=study.most.area if study and study.most else None,
            noise=_lead_to_beat(study.random if study else None),
            selectivity=selectivity.get(cluster),
            units_for_90=study.units_for_90 if study else None,
            count=result.layer.count,
        )
    return LayerLine(
        layer=layer,
        ranking=ranking.id,
        verdict=overall.verdict if overall else None,
        robust=overall.robust if overall else None,
        area=overall.area if overall else None,
        noise=overall.noise if overall else None,
        selectivity=fmean(selectivity.values()) if selectivity else None,
        units_for_90=median_units_for_90(
            each.ablation.units_for_90 if each.ablation else None for each in ranking.clusters.values()
        ),
        count=result.layer.count,
    )


def _lead_to_beat(control: Control | None) -> float | None:
    if control is None or control.area is None or control.area_to_beat is None:
        return None
    return max(0.0, control.area_to_beat - control.area)
