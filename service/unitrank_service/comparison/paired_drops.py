"""Compares the areas of two rankings of two results that test the same examples.

The numbers are those of `unitrank_engine.ablation.statistics.comparisons`, which explains them.
They come from the arrays `tests/…`: the drop of F on each test example.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import inf, sqrt
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from unitrank_schemas.jobs.ablation import Ablation
from unitrank_schemas.methods import CLASS_MARK
from unitrank_schemas.results import Ranking, Result
from unitrank_service.comparison.student_t import t_quantile

MIN_TESTED = 2
"""Test examples that a cluster needs: one example has no variance."""
TOLERANCE = 1e-4
"""Relative difference up to which two drops are equal: those of two devices."""
# Any: real numbers of any width
Arrays = Mapping[str, NDArray[Any]]
Values = NDArray[np.float64]


@dataclass(frozen=True)
class TestedResult:
    """A result and its arrays."""

    result: Result
    arrays: Arrays

    def slices(self) -> Iterator[tuple[str, slice]]:
        """Yield each cluster's name, and the place of its examples in the arrays `tests/…`."""
        start = 0
        for cluster in self.result.clusters:
            yield cluster.name, slice(start, start + cluster.tested_on)
            start += cluster.tested_on

    @property
    def ablation(self) -> Ablation | None:
        options = self.result.provenance.options.get("ablation")
        return Ablation.model_validate(options, extra="ignore") if options else None


@dataclass(frozen=True)
class Interval:
    """A difference with its interval."""

    value: float
    low: float
    high: float


def why_not_paired(a: TestedResult, b: TestedResult) -> str | None:
    """Return why the tests of two results cannot be compared, in words; None if they can."""
    for each in (a, b):
        if "tests/rows" not in each.arrays or each.ablation is None:
            return f"the result of job {each.result.job} has no values of single test examples; run the job again with an ablation"
    tested = [(each.result.model.digest, each.result.dataset.digest) for each in (a, b)]
    if tested[0] != tested[1]:
        return "the jobs use different models or data"
    if [cluster.name for cluster in a.result.clusters] != [cluster.name for cluster in b.result.clusters]:
        return "the jobs have different clusters"
    if not np.array_equal(a.arrays["tests/rows"], b.arrays["tests/rows"]):
        return "the jobs test different examples: `seed`, `split`, `clusters` or `ablation.examples` differ"
    if _settings(a) != _settings(b):
        return "the jobs test with different settings: `fractions`, `measure` or `level` differ"
    return None


def compared(a: TestedResult, of_a: Ranking, b: TestedResult, of_b: Ranking) -> dict[str, Any] | None:
    """Return the fields of `unitrank_schemas.results.Comparison` without the names of the rankings.

    Returns None where the jobs replace units by other values, or explain another target.
    """
    mark = "" if of_a.target_class is None else f"{CLASS_MARK}{of_a.target_class}"
    names = f"tests/all_replaced{mark}", f"tests/most/{of_a.id}", f"tests/most/{of_b.id}"
    if names[0] not in a.arrays or names[0] not in b.arrays or names[1] not in a.arrays or names[2] not in b.arrays:
        return None
    all_replaced, theirs = (each.arrays[names[0]].astype(np.float64) for each in (a, b))
    if not np.allclose(all_replaced, theirs, rtol=TOLERANCE, atol=TOLERANCE * float(np.abs(all_replaced).max(initial=0.0))):
        return None
    usable = [place for name, place in a.slices() if has_area(of_a, name) and place.stop - place.start >= MIN_TESTED]
    if not usable:
        return {}
    assert a.ablation is not None
    level = a.ablation.level
    lead = _interval(a.arrays[names[1]] - b.arrays[names[2]].astype(np.float64), all_replaced, usable, level)
    values = {"difference": lead.value, "low": lead.low, "high": lead.high, "ahead": _ahead(of_a, of_b, lead, _noise)}
    keep_a, keep_b = a.arrays.get(f"tests/keep/{of_a.id}"), b.arrays.get(f"tests/keep/{of_b.id}")
    if keep_a is None or keep_b is None:
        return values
    # A smaller loss is better.
    keep = _interval(keep_b - keep_a.astype(np.float64), all_replaced, usable, level)
    kept = {"keep_difference": keep.value, "keep_low": keep.low, "keep_high": keep.high}
    return values | kept | {"keep_ahead": _ahead(of_a, of_b, keep, lambda ranking: 0.0)}


def _settings(each: TestedResult) -> tuple[Any, ...]:
    assert each.ablation is not None
    return each.ablation.counts_of(each.result.layer.count), each.ablation.measure, each.ablation.level


def has_area(ranking: Ranking, cluster: str) -> bool:
    """Return whether the drop with all units replaced is large enough to divide by."""
    test = ranking.clusters[cluster].ablation
    return test is not None and test.most is not None and test.most.area is not None


def _interval(values: Values, all_replaced: Values, usable: Sequence[slice], level: float) -> Interval:
    """Return the mean share of S₀ − S_n over clusters, with its stratified t interval."""
    means, variance = [], 0.0
    for place in usable:
        total = float(all_replaced[place].mean())
        mean = float(values[place].mean()) / total
        residuals = (values[place] - mean * all_replaced[place]) / total
        means.append(mean)
        variance += float(residuals.var(ddof=1)) / len(residuals)
    value = sum(means) / len(means)
    freedom = sum(place.stop - place.start - 1 for place in usable)
    half_width = t_quantile((1 + level) / 2, freedom) * sqrt(variance) / len(means)
    return Interval(value, value - half_width, value + half_width)


def _noise(ranking: Ranking) -> float:
    return inf if ranking.overall is None or ranking.overall.noise is None else ranking.overall.noise


def _ahead(a: Ranking, b: Ranking, lead: Interval, noise: Any) -> Literal["a", "b"] | None:
    """Return the ranking that is better than random, and whose lead exceeds its noise."""
    better = [each.overall is not None and each.overall.verdict == "better_than_random" for each in (a, b)]
    if better[0] and lead.low > noise(a):
        return "a"
    if better[1] and -lead.high > noise(b):
        return "b"
    return None
