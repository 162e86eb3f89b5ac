"""Whether a result is good enough: what a pipeline asks of it, each with what was found."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from unitrank.errors import NotPossible
from unitrank_schemas.results import Leader, Ranking, Result


@dataclass(frozen=True)
class Bounds:
    """The bounds that a result has to keep; None: no bound."""

    min_better_than_random: float | None = None
    """Share of the clusters where the ranking beats chance."""
    min_area: float | None = None
    max_gap: float | None = None
    """Of the largest relative completeness gap of a cluster."""
    max_p: float | None = None
    """Over all clusters together."""
    forbidden: tuple[str, ...] = ()
    """Codes of warnings."""


@dataclass(frozen=True)
class Check:
    """One condition: what was asked and found, and whether that will do."""

    wanted: str
    found: str
    met: bool


def checks(result: Result, bounds: Bounds, ranking: str | None = None) -> list[Check]:
    """Every condition that was asked of the ranking, the leaderboard's first where none is named. Raises NotPossible."""
    leaders = {leader.ranking: leader for leader in result.leaderboard}
    name = ranking or next(iter(leaders))
    if name not in leaders:
        raise NotPossible(f"ranking {name!r} not found; there are {', '.join(leaders)}", code="ranking_not_found")
    (whole,) = (each for each in result.rankings if each.id == name)
    conditions = [*_numbers(leaders[name], whole, bounds), *_warnings(result, name, bounds)]
    if not conditions:
        raise NotPossible("say what is asked, such as --min-better-than-random 0.9", code="invalid_request")
    return conditions


def _numbers(leader: Leader, ranking: Ranking, bounds: Bounds) -> Iterator[Check]:
    share = leader.better_than_random / leader.of if leader.of and leader.verdict is not None else None
    yield from _at_least("share of clusters better than random", bounds.min_better_than_random, share)
    yield from _at_least("mean area", bounds.min_area, leader.mean_area)
    yield from _at_most("completeness gap", bounds.max_gap, _gap(ranking))
    yield from _at_most("p over all clusters", bounds.max_p, ranking.overall.p_value if ranking.overall else None)


def _warnings(result: Result, ranking: str, bounds: Bounds) -> Iterator[Check]:
    for code in bounds.forbidden:
        count = sum(warn.code == code and warn.ranking in (None, ranking) for warn in result.warnings)
        yield Check(f"no warning {code}", str(count), count == 0)


def _gap(ranking: Ranking) -> float | None:
    gaps = [cluster.completeness.relative_gap for cluster in ranking.clusters.values() if cluster.completeness]
    numbers = [gap for gap in gaps if gap is not None]
    return max(numbers, default=None)


def _at_least(what: str, bound: float | None, number: float | None) -> Iterator[Check]:
    yield from _bounded(f"{what} at least", bound, number, lambda value, limit: value >= limit)


def _at_most(what: str, bound: float | None, number: float | None) -> Iterator[Check]:
    yield from _bounded(f"{what} at most", bound, number, lambda value, limit: value <= limit)


def _bounded(words: str, bound: float | None, number: float | None, holds: Callable[[float, float], bool]) -> Iterator[Check]:
    """What is not known does not meet what was asked of it."""
    if bound is not None:
        text = "not known" if number is None else f"{number:.4g}"
        yield Check(f"{words} {bound:g}", text, number is not None and holds(number, bound))
