"""Comparisons of two rankings, from the drops of F on the same test examples.

For test example i of a cluster, with S₀ − S_n the cluster's drop with all units replaced:

- D_i: the mean, over the counts k, of F − F with the first k units replaced
- t_i: F − F with all units replaced; its mean over the examples is S₀ − S_n
- d_i: (D_i of ranking a − D_i of ranking b) / (S₀ − S_n)

`difference` is the mean over clusters of the clusters' mean d. Its interval is a stratified t
interval. S₀ − S_n is a mean of the same examples, so the variance comes from the residuals
d_i − mean(d) · t_i / (S₀ − S_n) (delta method for a ratio of means).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np
from jaxtyping import Float
from scipy import stats

from unitrank_engine.ablation.statistics.verdict import MIN_TESTED
from unitrank_schemas.results import Comparison, Verdict


@dataclass(frozen=True)
class ClusterDrops:
    """The drops of F of one ranking on each test example of one cluster."""

    total: float | None
    """S₀ − S_n; None where the cluster's area is null."""
    all_replaced: Float[np.ndarray, " examples"]
    """t_i: F − F with all units replaced."""
    by_example: Float[np.ndarray, " examples"]
    """D_i: mean over counts of F − F with the first units of the order `most` replaced."""
    loss_of_keeping: Float[np.ndarray, " examples"] | None
    """Mean over counts of F − F with all units but the first replaced; None without `keep`."""
    controls: Float[np.ndarray, " orders"]
    """D of each relabelled control of this ranking, without the ranking itself."""


@dataclass(frozen=True)
class RankingDrops:
    """The drops of F of one ranking in all clusters, and its overall verdict."""

    id: str
    method: str
    target_class: int | None
    verdict: Verdict
    clusters: Sequence[ClusterDrops]
    """In the result's order."""


@dataclass(frozen=True)
class Interval:
    """A mean over clusters of ratios of means, with its t interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Ratio:
    """The values whose mean over examples, as a share of S₀ − S_n, is estimated in one cluster."""

    values: Float[np.ndarray, " examples"]
    all_replaced: Float[np.ndarray, " examples"]
    total: float

    def mean(self) -> float:
        return float(self.values.mean() / self.total)

    def variance(self) -> float:
        """Return the variance of the mean, from two examples or more."""
        residuals = (self.values - self.mean() * self.all_replaced) / self.total
        return float(residuals.var(ddof=1) / len(residuals))


def interval(ratios: Sequence[Ratio], level: float) -> Interval:
    """Return the mean over clusters of the ratios, and its stratified t interval.

    `ratios`: one of each cluster, each with two examples or more.
    `level`: the confidence level, such as 0.95.

    >>> examples = Ratio(np.array([1.0, 2.0, 3.0]), np.array([4.0, 4.0, 4.0]), total=4.0)
    >>> found = interval([examples], level=0.95)
    >>> found.value, round(found.low, 3), round(found.high, 3)
    (0.5, -0.121, 1.121)
    """
    value = sum(ratio.mean() for ratio in ratios) / len(ratios)
    error = float(np.sqrt(sum(ratio.variance() for ratio in ratios))) / len(ratios)
    freedom = sum(len(ratio.values) - 1 for ratio in ratios)
    half_width = float(stats.t.ppf((1 + level) / 2, freedom)) * error
    return Interval(value, value - half_width, value + half_width)


def comparisons(rankings: Sequence[RankingDrops], level: float) -> list[Comparison]:
    """Compare each two rankings of one target class, in the order of `rankings`.

    Rankings of the method `random` are left out.
    """
    compared = [ranking for ranking in rankings if ranking.method != "random"]
    return [_compare(a, b, level) for a, b in combinations(compared, 2) if a.target_class == b.target_class]


def ties_with(pairs: Sequence[Comparison], ranking: str) -> list[str]:
    """Return the rankings that `ranking` is compared with and neither of which is ahead."""
    return [pair.b if pair.a == ranking else pair.a for pair in pairs if pair.ahead is None and ranking in (pair.a, pair.b)]


def noise(ranking: RankingDrops) -> float | None:
    """Return the standard deviation, over the ranking's controls, of their mean area over clusters.

    None without a cluster that has an area and two test examples, and without controls.
    """
    usable = [index for index, cluster in enumerate(ranking.clusters) if _is_usable(cluster)]
    value = _noise(ranking, usable) if usable else np.inf
    return value if np.isfinite(value) else None


def _compare(a: RankingDrops, b: RankingDrops, level: float) -> Comparison:
    usable = [index for index, cluster in enumerate(a.clusters) if _is_usable(cluster)]
    if not usable:
        return Comparison(a=a.id, b=b.id)
    deleting = interval([_ratio(a.clusters[index], b.clusters[index]) for index in usable], level)
    keeping = _keeping(a, b, usable, level)
    return Comparison(
        a=a.id,
        b=b.id,
        difference=deleting.value,
        low=deleting.low,
        high=deleting.high,
        keep_difference=keeping.value if keeping else None,
        keep_low=keeping.low if keeping else None,
        keep_high=keeping.high if keeping else None,
        ahead=_ahead(a, b, deleting, noise={each.id: _noise(each, usable) for each in (a, b)}),
        keep_ahead=_ahead(a, b, keeping, noise={a.id: 0.0, b.id: 0.0}) if keeping else None,
    )


def _is_usable(cluster: ClusterDrops) -> bool:
    # One example has no variance.
    return cluster.total is not None and len(cluster.by_example) >= MIN_TESTED


def _ratio(a: ClusterDrops, b: ClusterDrops) -> Ratio:
    assert a.total is not None
    return Ratio(a.by_example - b.by_example, a.all_replaced, a.total)


def _keeping(a: RankingDrops, b: RankingDrops, usable: list[int], level: float) -> Interval | None:
    """Return the loss of keeping of b minus that of a: a smaller loss is better."""
    ratios = []
    for index in usable:
        of_a, of_b = a.clusters[index], b.clusters[index]
        if of_a.loss_of_keeping is None or of_b.loss_of_keeping is None:
            return None
        assert of_a.total is not None
        ratios.append(Ratio(of_b.loss_of_keeping - of_a.loss_of_keeping, of_a.all_replaced, of_a.total))
    return interval(ratios, level)


def _noise(ranking: RankingDrops, usable: list[int]) -> float:
    """Return the standard deviation, over the controls, of their mean area over the clusters."""
    areas = np.mean([_areas_of_controls(ranking.clusters[index]) for index in usable], axis=0)
    return float(areas.std()) if len(areas) else np.inf


def _areas_of_controls(cluster: ClusterDrops) -> Float[np.ndarray, " orders"]:
    assert cluster.total is not None
    return cluster.controls / cluster.total


def _ahead(a: RankingDrops, b: RankingDrops, lead: Interval, noise: dict[str, float]) -> Literal["a", "b"] | None:
    """Return the ranking that is better than random, and whose lead exceeds its noise."""
    if a.verdict == "better_than_random" and lead.low > noise[a.id]:
        return "a"
    if b.verdict == "better_than_random" and -lead.high > noise[b.id]:
        return "b"
    return None
