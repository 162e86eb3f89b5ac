"""Compares two results: verdicts, areas, and the rank correlation of each cluster."""

from dataclasses import asdict, dataclass
from typing import Any

from unitrank.errors import NotPossible
from unitrank.results import JobResult
from unitrank_schemas.results import Leader


@dataclass(frozen=True)
class Compared:
    """The values of a ranking that both results have, as pairs: first result, second result.

    Attributes:
        ranking: id of the ranking.
        verdicts: the verdicts over all clusters.
        better: the numbers of clusters in which the ranking is better than random.
        areas: the areas over all clusters.
        correlations: cluster → Spearman's correlation of the importances; None if one result has
            the same importance for all units. Empty if a result has no arrays.
    """

    ranking: str
    verdicts: tuple[str | None, str | None]
    better: tuple[int, int]
    areas: tuple[float | None, float | None]
    correlations: dict[str, float | None]

    def as_json(self) -> dict[str, Any]:
        """The fields as plain values."""
        return asdict(self)


def compared(first: JobResult, second: JobResult) -> list[Compared]:
    """Compares the rankings and clusters that have the same name in both results.

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
    return [_of(ranking, first, second) for ranking in common]


def _of(ranking: str, first: JobResult, second: JobResult) -> Compared:
    a, b = (_leader(result, ranking) for result in (first, second))
    return Compared(
        ranking=ranking,
        verdicts=(a.verdict if a else None, b.verdict if b else None),
        better=(a.better_than_random if a else 0, b.better_than_random if b else 0),
        areas=(a.area if a else None, b.area if b else None),
        correlations=_correlations(ranking, first, second),
    )


def _leader(result: JobResult, ranking: str) -> Leader | None:
    return next((leader for leader in result.leaderboard if leader.ranking == ranking), None)


def _correlations(ranking: str, first: JobResult, second: JobResult) -> dict[str, float | None]:
    from unitrank_plots.rank_correlation import spearman

    if any(f"importance/{ranking}" not in result.arrays for result in (first, second)):
        return {}
    a, b = first.importances(ranking), second.importances(ranking)
    return {name: spearman(a[name].ravel(), b[name].ravel()) for name in a if name in b}
