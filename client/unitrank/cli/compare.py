"""Compares two results: the judgement of each ranking that both have, and its importances."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any

from unitrank.errors import NotPossible
from unitrank.results import JobResult, LayeredJobResult
from unitrank_schemas.results import Leader
from unitrank_schemas.units_for_90 import median_units_for_90

TOP = 20
"""Units that `top_overlap` compares, at most."""
NUMBERED = ("kmeans",)
"""Kinds of clusters whose names are numbers without a meaning outside the job."""


@dataclass(frozen=True)
class Judged:
    """How one result judges a ranking; None where the job did not compute a value.

    Attributes:
        verdict: the verdict over all clusters.
        robust: whether the verdict is better than random and has no doubts.
        doubts: codes of the warnings that speak against a better verdict.
        p_family: p-value over all clusters, corrected for the number of rankings.
        better: the number of clusters in which the ranking is better than random.
        area: the area over all clusters.
        keep: mean of `keep_area` over the clusters.
        units_for_90: upper median over the clusters; null counts as more than all.
        selectivity: mean selectivity of the clusters.
        ties_with: rankings from which the comparison cannot tell this one apart.
    """

    verdict: str | None
    robust: bool | None
    doubts: list[str]
    p_family: float | None
    better: int
    area: float | None
    keep: float | None
    units_for_90: int | None
    selectivity: float | None
    ties_with: list[str]


@dataclass(frozen=True)
class Agreed:
    """How similar the importances of the two results are in one cluster.

    Attributes:
        spearman: rank correlation of the importances; None if one result has the same importance
            for all units.
        top_overlap: the number of units that both results have in their top 20.
    """

    spearman: float | None
    top_overlap: int


@dataclass(frozen=True)
class Compared:
    """A ranking that both results have.

    Attributes:
        ranking: id of the ranking.
        differences: names of the parts of the requests that differ, such as `ablation.fill`.
        judged: the judgement of each result.
        agreement: cluster → agreement, for clusters that both results have.
        no_agreement: why there is no agreement, in words; None if there is one.
        top: the number of units that `top_overlap` compares.
    """

    ranking: str
    differences: list[str]
    judged: tuple[Judged, Judged]
    agreement: dict[str, Agreed]
    no_agreement: str | None
    top: int

    @property
    def spearman(self) -> float | None:
        """The mean rank correlation over the clusters; None without one."""
        return _mean(each.spearman for each in self.agreement.values())

    @property
    def top_overlap(self) -> float | None:
        """The mean number of units that both results have in their top; None without arrays."""
        return _mean(each.top_overlap for each in self.agreement.values())

    def as_json(self) -> dict[str, Any]:
        """The fields as plain values; most are pairs: of the first result, of the second result."""
        first, second = map(asdict, self.judged)
        pairs = {name: (value, second[name]) for name, value in first.items()}
        return {
            "ranking": self.ranking,
            "differences": self.differences,
            "verdicts": pairs.pop("verdict"),
            "areas": pairs.pop("area"),
            **pairs,
            "agreement": {"spearman": self.spearman, "top_overlap": self.top_overlap},
            "correlations": {name: each.spearman for name, each in self.agreement.items()},
            "top_overlaps": {name: each.top_overlap for name, each in self.agreement.items()},
        }


def layer_pairs(first: JobResult, second: JobResult) -> dict[str, tuple[JobResult, JobResult]]:
    """Name of a layer, or `joint` → its results in both; an empty name where each has one layer.

    Raises NotPossible if one of the two has several layers, and they have no layer in common.
    """
    if not any(isinstance(each, LayeredJobResult) for each in (first, second)):
        return {"": (first, second)}
    pairs = {name: (part, second[name]) for name, part in first.parts.items() if name in second.parts}
    if not pairs:
        raise NotPossible(
            f"the results have no layer in common: the first has {', '.join(first.parts)}, the second {', '.join(second.parts)}",
            code="not_comparable",
        )
    return pairs


def compared(first: JobResult, second: JobResult, further: Sequence[str] = ()) -> list[Compared]:
    """Compares the rankings and clusters that have the same name in both results.

    `further`: fields in which the requests differ, also those that the results do not have.
    Raises NotPossible if the numbers of units differ, or no ranking is in both.
    """
    if first.layer.count != second.layer.count:
        raise NotPossible(
            f"layer {first.layer.name} has {first.layer.count} units, and layer {second.layer.name} has {second.layer.count}; "
            "only results with the same number of units can be compared",
            code="not_comparable",
        )
    common = [ranking for ranking in first.rankings if ranking in second.rankings]
    if not common:
        raise NotPossible(
            f"the results have no ranking in common: the first has {', '.join(first.rankings)}, "
            f"the second {', '.join(second.rankings)}",
            code="not_comparable",
        )
    fields = [*(["methods"] if list(first.rankings) != list(second.rankings) else []), *further]
    return [_of(ranking, first, second, fields) for ranking in common]


def _of(ranking: str, first: JobResult, second: JobResult, further: Sequence[str]) -> Compared:
    reason = _not_comparable(ranking, first, second)
    return Compared(
        ranking=ranking,
        differences=list(dict.fromkeys([*_differences(_request(first, ranking), _request(second, ranking)), *further])),
        judged=(_judged(first, ranking), _judged(second, ranking)),
        agreement={} if reason else _agreement(ranking, first, second),
        no_agreement=reason,
        top=min(TOP, first.layer.count),
    )


def _judged(result: JobResult, ranking: str) -> Judged:
    leader = next((leader for leader in result.leaderboard if leader.ranking == ranking), None)
    entry = result.rankings[ranking]
    leader = leader or Leader(ranking=ranking, better_than_random=0, of=0)
    studies = list(result.ablation[ranking].values())
    return Judged(
        verdict=leader.verdict,
        robust=leader.robust,
        doubts=entry.overall.doubts if entry.overall else [],
        p_family=entry.overall.p_family if entry.overall else None,
        better=leader.better_than_random,
        area=leader.area,
        keep=_mean(study.keep_area for study in studies),
        units_for_90=median_units_for_90(study.units_for_90 for study in studies),
        selectivity=_mean(entry.specificity.selectivity.values()) if entry.specificity else None,
        ties_with=leader.ties_with,
    )


def _request(result: JobResult, ranking: str) -> dict[str, Any]:
    """The parts of the request that decide the numbers of a ranking."""
    summary, method = result.summary, result.rankings[ranking].method
    contents = {"model": summary.model.digest, "dataset": summary.dataset.digest}
    place = {"layer": summary.layer.name, "at": summary.layer.at, "units": summary.layer.units}
    return {**contents, **place, "seed": summary.provenance.seed, "method": method, **summary.provenance.options}


def _differences(first: Mapping[str, Any], second: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """The dotted names of values that differ."""
    for name in dict.fromkeys([*first, *second]):
        a, b = first.get(name), second.get(name)
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            yield from _differences(a, b, f"{prefix}{name}.")
        elif a != b:
            yield prefix + name


def _not_comparable(ranking: str, first: JobResult, second: JobResult) -> str | None:
    """Why the importances of two results cannot be compared; None if they can."""
    if any(f"importance/{ranking}" not in result.arrays for result in (first, second)):
        return "it needs the arrays of both results, from a job or an .npz file"
    places = [(result.layer.name, result.layer.at, result.layer.units, result.layer.shape) for result in (first, second)]
    if places[0] != places[1]:
        return "the results rank the units of different places"
    if first.layer.parts != second.layer.parts:
        return "the results rank the units of different layers together"
    kinds = [(result.summary.provenance.options.get("clusters") or {}).get("by") for result in (first, second)]
    sizes = [{cluster.name: cluster.examples for cluster in result.clusters} for result in (first, second)]
    if kinds[0] != kinds[1] or not sizes[0].keys() & sizes[1].keys():
        return "the results have different clusters"
    if kinds[0] in NUMBERED and sizes[0] != sizes[1]:
        return "clusters with the same number have different examples in the two results"
    return None


def _agreement(ranking: str, first: JobResult, second: JobResult) -> dict[str, Agreed]:
    from unitrank_plots.rank_correlation import spearman
    from unitrank_tables.top_units import highest

    a, b = first.importances(ranking), second.importances(ranking)
    agreement: dict[str, Agreed] = {}
    for name in (name for name in a if name in b):
        left, right = a[name].ravel(), b[name].ravel()
        overlap = set(highest(left, TOP).tolist()) & set(highest(right, TOP).tolist())
        agreement[name] = Agreed(spearman(left, right), len(overlap))
    return agreement


def _mean(values: Any) -> float | None:
    """The mean of the numbers; None without numbers."""
    numbers = [value for value in values if value is not None]
    return fmean(numbers) if numbers else None
