"""Two results side by side: verdicts, areas, and how alike the rankings of one cluster are."""

from dataclasses import asdict, dataclass
from typing import Any

from unitrank.errors import NotPossible
from unitrank.results import JobResult
from unitrank_schemas.results import Leader


@dataclass(frozen=True)
class Compared:
    """A ranking that both results have."""

    ranking: str
    verdicts: tuple[str | None, str | None]
    better: tuple[int, int]
    """Clusters where it beats chance."""
    areas: tuple[float | None, float | None]
    correlations: dict[str, float | None]
    """Cluster → Spearman's correlation of the importances; None where one of them is the same for all units.

    Empty where a result has no arrays.
    """

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def compared(first: JobResult, second: JobResult) -> list[Compared]:
    """The rankings and clusters of equal names. Raises NotPossible where there is nothing to compare."""
    if first.layer.count != second.layer.count:
        raise NotPossible(
            f"{first.layer.name} has {first.layer.count} units and {second.layer.name} {second.layer.count}; "
            "only results with as many units can be compared",
            code="not_comparable",
        )
    both = [ranking for ranking in first.rankings if ranking in second.rankings]
    if not both:
        raise NotPossible(
            f"the results have no ranking in common: {', '.join(first.rankings)} and {', '.join(second.rankings)}",
            code="not_comparable",
        )
    return [_of(ranking, first, second) for ranking in both]


def _of(ranking: str, first: JobResult, second: JobResult) -> Compared:
    one, other = (_leader(result, ranking) for result in (first, second))
    return Compared(
        ranking=ranking,
        verdicts=(one.verdict if one else None, other.verdict if other else None),
        better=(one.better_than_random if one else 0, other.better_than_random if other else 0),
        areas=(one.mean_area if one else None, other.mean_area if other else None),
        correlations=_correlations(ranking, first, second),
    )


def _leader(result: JobResult, ranking: str) -> Leader | None:
    return next((leader for leader in result.leaderboard if leader.ranking == ranking), None)


def _correlations(ranking: str, first: JobResult, second: JobResult) -> dict[str, float | None]:
    from unitrank_plots.rank_correlation import spearman

    if any(f"importance/{ranking}" not in result.arrays for result in (first, second)):
        return {}
    ours, theirs = first.importances(ranking), second.importances(ranking)
    return {name: spearman(ours[name].ravel(), theirs[name].ravel()) for name in ours if name in theirs}
