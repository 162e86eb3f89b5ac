"""Checks a result against the bounds of `unitrank gate`."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from unitrank.errors import NotPossible
from unitrank_schemas.leading import leading
from unitrank_schemas.results import JOINT, LayeredResult, Leader, Ranking, Result


@dataclass(frozen=True)
class Bounds:
    """The bounds that a result must meet; None: no bound.

    Args:
        min_better_than_random: smallest share of clusters in which the ranking is better than
            random, from 0 to 1.
        min_area: smallest area over all clusters.
        min_selectivity: smallest selectivity of any cluster.
        max_missed: largest `missed_at_most` of any cluster.
        max_gap: largest relative completeness gap of any cluster.
        max_p: largest p-value over all clusters, corrected for the number of rankings.
        forbidden: codes of warnings that the result must not have.
    """

    min_better_than_random: float | None = None
    min_area: float | None = None
    max_gap: float | None = None
    max_p: float | None = None
    min_selectivity: float | None = None
    max_missed: int | None = None
    forbidden: tuple[str, ...] = ()


@dataclass(frozen=True)
class Check:
    """A condition, the result's value as text, and whether the value meets the condition.

    `layer`: the layer that is checked; None for a result of one layer.
    """

    condition: str
    value: str
    met: bool
    layer: str | None = None

    @property
    def title(self) -> str:
        """The condition, with the name of the layer for a result of several."""
        return self.condition if self.layer is None else f"{self.layer}: {self.condition}"

    def as_json(self) -> dict[str, Any]:
        """The check as `unitrank gate --json` prints it."""
        of_layer = {} if self.layer is None else {"layer": self.layer}
        return {**of_layer, "wanted": self.condition, "found": self.value, "met": self.met}


def checks(result: Result | LayeredResult, bounds: Bounds, ranking: str | None = None, layer: str | None = None) -> list[Check]:
    """Checks each bound for one ranking of a layer, of `joint`, or of each layer.

    Args:
        result: the summary of a result.
        bounds: the bounds to check; at least one.
        ranking: id of the ranking; None: the one that leads. A control such as `random` never
            leads.
        layer: name of a layer, or `joint`; None: `joint` if the result has it, else every layer.

    Raises NotPossible for an unknown layer or ranking, without a bound, and for a bound on the
    verdict where it is undecided.
    """
    names = list(result.parts()) if isinstance(result, LayeredResult) else [result.layer.name]
    if layer is not None and layer not in names:
        raise NotPossible(f"layer {layer!r} not found in the result; use one of {', '.join(names)}", code="layer_not_found")
    if isinstance(result, Result):
        return _checks_of_layer(result, bounds, ranking)
    chosen = [layer] if layer is not None else [JOINT] if result.joint is not None else names
    return [replace(check, layer=name) for name in chosen for check in _checks_of_layer(result.of_layer(name), bounds, ranking)]


def _checks_of_layer(result: Result, bounds: Bounds, ranking: str | None) -> list[Check]:
    leaders = {leader.ranking: leader for leader in result.leaderboard}
    name = ranking or leading(result).id
    if name not in leaders:
        raise NotPossible(f"ranking {name!r} not found; use one of {', '.join(leaders)}", code="ranking_not_found")
    (entry,) = (candidate for candidate in result.rankings if candidate.id == name)
    needs_verdict = bounds.max_p is not None or bounds.min_better_than_random is not None
    if needs_verdict and entry.overall and entry.overall.verdict == "undecided":
        reasons = [warning.detail for warning in result.warnings if warning.code == "undecided" and warning.ranking == name]
        reason = reasons[0] if reasons else "the verdict is undecided"
        raise NotPossible(f"the test of {name!r} cannot be judged: {reason}", code="undecided")
    conditions = [*_numbers(leaders[name], entry, bounds), *_warnings(result, name, bounds)]
    if not conditions:
        raise NotPossible("no condition was given; give at least one, such as --min-better-than-random 0.9", code="invalid_request")
    return conditions


def _numbers(leader: Leader, ranking: Ranking, bounds: Bounds) -> Iterator[Check]:
    share = leader.better_than_random / leader.of if leader.of and leader.verdict is not None else None
    yield from _at_least("share of clusters better than random", bounds.min_better_than_random, share)
    yield from _at_least("area over all clusters", bounds.min_area, leader.area)
    yield from _at_least("selectivity of each cluster", bounds.min_selectivity, _selectivity(ranking))
    yield from _at_most("completeness gap", bounds.max_gap, _gap(ranking))
    yield from _at_most("important units missed", bounds.max_missed, _missed(ranking))
    yield from _at_most("p over all clusters", bounds.max_p, ranking.overall.deciding_p if ranking.overall else None)


def _warnings(result: Result, ranking: str, bounds: Bounds) -> Iterator[Check]:
    for code in bounds.forbidden:
        count = sum(warn.code == code and warn.ranking in (None, ranking) for warn in result.warnings)
        yield Check(f"no warning {code}", str(count), count == 0)


def _selectivity(ranking: Ranking) -> float | None:
    return min(ranking.specificity.selectivity.values(), default=None) if ranking.specificity else None


def _missed(ranking: Ranking) -> int | None:
    return max((each.verified.missed_at_most for each in ranking.clusters.values() if each.verified), default=None)


def _gap(ranking: Ranking) -> float | None:
    gaps = [cluster.completeness.relative_gap for cluster in ranking.clusters.values() if cluster.completeness]
    numbers = [gap for gap in gaps if gap is not None]
    return max(numbers, default=None)


def _at_least(quantity: str, bound: float | None, number: float | None) -> Iterator[Check]:
    yield from _bounded(f"{quantity} at least", bound, number, lambda value, limit: value >= limit)


def _at_most(quantity: str, bound: float | None, number: float | None) -> Iterator[Check]:
    yield from _bounded(f"{quantity} at most", bound, number, lambda value, limit: value <= limit)


def _bounded(condition: str, bound: float | None, number: float | None, holds: Callable[[float, float], bool]) -> Iterator[Check]:
    """The check of a bound, unless the bound is None. An unknown number does not meet a bound."""
    if bound is not None:
        text = "not known" if number is None else f"{number:.4g}"
        yield Check(f"{condition} {bound:g}", text, number is not None and holds(number, bound))
