"""The ablation study by its definitions, from F of each example and set of units."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import mean, variance

import numpy as np
from scipy import stats

Value = Callable[[int, frozenset[int]], float]
"""Takes a dataset row and the replaced units; returns the value of that example."""


@dataclass(frozen=True)
class PlainCluster:
    """The test examples of one cluster.

    `f`: the target F of an example.
    `measured`: the value that the test compares: F, or 1 for a right and 0 for a wrong prediction.
    """

    rows: list[int]
    units: int
    counts: list[int]
    f: Value
    measured: Value

    def mean(self, value: Value, units: Sequence[int]) -> float:
        """The mean over the test examples with these units replaced."""
        return sum(value(row, frozenset(units)) for row in self.rows) / len(self.rows)

    def deleted(self, order: list[int], value: Value) -> list[float]:
        """With the first k units replaced, for each count k."""
        return [self.mean(value, order[:count]) for count in self.counts]

    def kept(self, order: list[int], value: Value) -> list[float]:
        """With all units replaced but the first k."""
        return [self.mean(value, order[count:]) for count in self.counts]

    @property
    def intact(self) -> float:
        return self.mean(self.measured, [])

    @property
    def all_replaced(self) -> float:
        return self.mean(self.measured, range(self.units))

    @property
    def total(self) -> float | None:
        """S₀ − S_n; None where it is at most 0.05 · mean |F|."""
        size = sum(abs(self.measured(row, frozenset())) for row in self.rows) / len(self.rows)
        total = self.intact - self.all_replaced
        return total if total > 0.05 * size else None

    def drop(self, order: list[int]) -> float:
        """D."""
        # One sum over counts and examples: falls of accuracy are then added without rounding.
        return sum(fall for falls in self.drops(order) for fall in falls) / (len(self.counts) * len(self.rows))

    def loss(self, order: list[int]) -> float:
        """The mean over the counts of S₀ − F(keep k)."""
        return sum(fall for falls in self.losses(order) for fall in falls) / (len(self.counts) * len(self.rows))

    def drops(self, order: list[int]) -> list[list[float]]:
        """For each example its fall at each count."""
        return [[self._fall(row, order[:count]) for count in self.counts] for row in self.rows]

    def losses(self, order: list[int]) -> list[list[float]]:
        return [[self._fall(row, order[count:]) for count in self.counts] for row in self.rows]

    def totals(self) -> list[float]:
        """For each example its fall with all units replaced."""
        return [self._fall(row, range(self.units)) for row in self.rows]

    def _fall(self, row: int, units: Sequence[int]) -> float:
        return self.measured(row, frozenset()) - self.measured(row, frozenset(units))

    def share(self, value: float) -> float | None:
        return None if self.total is None else value / self.total

    def units_for_90(self, order: list[int]) -> int | None:
        if self.total is None:
            return None
        enough = self.all_replaced + 0.9 * self.total
        kept = self.kept(order, self.measured)
        starts = [count for number, count in enumerate(self.counts) if all(score >= enough for score in kept[number:])]
        return min(starts, default=None)


def order_of(positions: np.ndarray) -> list[int]:
    """The units by their position."""
    return np.argsort(positions).tolist()


def relabelled(order: list[int], sigma: np.ndarray) -> list[int]:
    """The order in which unit i has the position of unit σ(i)."""
    return [unit for _, unit in sorted((order.index(int(sigma[unit])), unit) for unit in order)]


def share_above(value: float, controls: Sequence[float]) -> float:
    """The p-value: the share of the R + 1 values that are at least the first one's."""
    return (1 + sum(control >= value for control in controls)) / (len(controls) + 1)


def share_below(value: float, controls: Sequence[float]) -> float:
    return (1 + sum(control <= value for control in controls)) / (len(controls) + 1)


def standardised(values: Sequence[float]) -> list[float]:
    """The values with mean 0 and deviation 1; 0 where all are equal but for rounding."""
    mean = float(np.mean(values))
    deviation = float(np.sqrt(np.mean([(value - mean) ** 2 for value in values])))
    flat = deviation <= 1e-12 * max(abs(value) for value in values)
    return [0.0 if flat else (value - mean) / deviation for value in values]


def step_down(z: list[list[float]]) -> list[float]:
    """Each test's corrected p-value.

    `z`: for each test the ranking's value, then the values of its controls.
    """
    descending = sorted(range(len(z)), key=lambda test: -z[test][0])
    corrected, before = {}, 0.0
    for position, test in enumerate(descending):
        largest = [max(z[other][control] for other in descending[position:]) for control in range(1, len(z[0]))]
        before = max(before, share_above(z[test][0], largest))
        corrected[test] = before
    return [corrected[test] for test in range(len(z))]


def holm(p_values: list[float]) -> list[float]:
    ascending = sorted(range(len(p_values)), key=lambda test: p_values[test])
    corrected, before = {}, 0.0
    for position, test in enumerate(ascending):
        before = max(before, min(1.0, (len(p_values) - position) * p_values[test]))
        corrected[test] = before
    return [corrected[test] for test in range(len(p_values))]


@dataclass(frozen=True)
class Lead:
    """Mean over clusters of the difference of two rankings' areas, with its t interval."""

    value: float
    low: float
    high: float


def lead(clusters: Sequence[PlainCluster], differences: Sequence[list[float]], level: float) -> Lead:
    """`differences`: for each cluster and example, the difference of two drops or losses.

    The clusters must have two examples or more, and a total.
    """
    means, spread = [], 0.0
    for cluster, values in zip(clusters, differences, strict=True):
        total = mean(cluster.totals())
        shares = [value / total for value in values]
        residuals = [share - mean(shares) * fall / total for share, fall in zip(shares, cluster.totals(), strict=True)]
        means.append(mean(shares))
        spread += variance(residuals) / len(residuals)
    freedom = sum(len(cluster.rows) - 1 for cluster in clusters)
    half_width = float(stats.t.ppf((1 + level) / 2, freedom)) * spread**0.5 / len(clusters)
    return Lead(mean(means), mean(means) - half_width, mean(means) + half_width)


def plain_p_other_examples(leads: Sequence[list[float]], controls: Sequence[list[float]]) -> float | None:
    """The p-value of a lead over random orders, with the examples as a sample.

    `leads`: for each cluster and example, the drop minus its mean over the random orders.
    `controls`: for each cluster the drops of the relabelled controls.
    """
    pairs = [(each, float(np.std(drops))) for each, drops in zip(leads, controls, strict=True) if len(each) > 1 and np.ptp(drops)]
    if not pairs:
        return None
    total = sum(mean(each) / deviation for each, deviation in pairs)
    error = sum(variance(each) / deviation**2 / len(each) for each, deviation in pairs) ** 0.5
    return float(stats.t.sf(total / error, sum(len(each) - 1 for each, _ in pairs)))


def removable_at(counts: list[int], wrong: list[int], examples: int, level: float, tolerance: float) -> int | None:
    """The largest count up to which a share above `tolerance` would be too unlikely.

    The Clopper–Pearson limit is at most `tolerance` where so few wrong examples have at most the
    probability 1 − level under the share `tolerance`.
    """
    small = [float(stats.binom.cdf(each, examples, tolerance)) <= 1 - level for each in wrong]
    if stats.binom.cdf(0, examples, tolerance) > 1 - level:
        return None
    first_large = small.index(False) if False in small else len(small)
    return counts[first_large - 1] if first_large else 0
