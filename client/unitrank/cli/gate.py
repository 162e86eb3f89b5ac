"""Whether a result is good enough: what a pipeline asks of it, each with what was found."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from unitrank.errors import NotPossible
from unitrank_schemas.results import Leader, Ranking, Result


@dataclass(frozen=True)
class Wanted:
    """What is asked; None is not."""

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


def checks(result: Result, wanted: Wanted, ranking: str | None = None) -> list[Check]:
    """Every condition that was asked of the ranking, the leaderboard's first where none is named. Raises NotPossible."""
    known = {leader.ranking: leader for leader in result.leaderboard}
    name = ranking or next(iter(known))
    if name not in known:
        raise NotPossible(f"ranking {name!r} not found; there are {', '.join(known)}", code="ranking_not_found")
    (whole,) = (each for each in result.rankings if each.id == name)
    found = [*_numbers(known[name], whole, wanted), *_warnings(result, name, wanted)]
    if not found:
        raise NotPossible("say what is asked, such as --min-better-than-random 0.9", code="invalid_request")
    return found


def _numbers(leader: Leader, ranking: Ranking, wanted: Wanted) -> Iterator[Check]:
    share = leader.better_than_random / leader.of if leader.of and leader.verdict is not None else None
    yield from _at_least("share of clusters better than random", wanted.min_better_than_random, share)
    yield from _at_least("mean area", wanted.min_area, leader.mean_area)
    yield from _at_most("completeness gap", wanted.max_gap, _gap(ranking))
    yield from _at_most("p over all clusters", wanted.max_p, ranking.overall.p_value if ranking.overall else None)


def _warnings(result: Result, ranking: str, wanted: Wanted) -> Iterator[Check]:
    for code in wanted.forbidden:
        count = sum(warn.code == code and warn.ranking in (None, ranking) for warn in result.warnings)
        yield Check(f"no warning {code}", str(count), count == 0)


def _gap(ranking: Ranking) -> float | None:
    gaps = [found.completeness.relative_gap for found in ranking.clusters.values() if found.completeness]
    known = [gap for gap in gaps if gap is not None]
    return max(known, default=None)


def _at_least(what: str, bound: float | None, found: float | None) -> Iterator[Check]:
    yield from _bounded(f"{what} at least", bound, found, lambda value, limit: value >= limit)


def _at_most(what: str, bound: float | None, found: float | None) -> Iterator[Check]:
    yield from _bounded(f"{what} at most", bound, found, lambda value, limit: value <= limit)


def _bounded(words: str, bound: float | None, found: float | None, holds: Callable[[float, float], bool]) -> Iterator[Check]:
    """What is not known does not meet what was asked of it."""
    if bound is not None:
        said = "not known" if found is None else f"{found:.4g}"
        yield Check(f"{words} {bound:g}", said, found is not None and holds(found, bound))
