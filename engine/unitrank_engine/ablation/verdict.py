"""The verdict on a ranking, from its drop of F and the drops of random orders.

- drop D: the mean, over the counts k, of S₀ − S_k. S_k is the mean F with the first k units
  replaced; a large D means that F depends on the units that the ranking puts first.
- area: D as a share of the drop with all units replaced, D / (S₀ − S_n). It can exceed 1 where
  replacing the top units hurts more than replacing all.
- p_value: (1 + number of random orders with a drop ≥ D) / (R + 1), for R random orders. 0.01 means
  that no more than 1 % of the R + 1 orders drop as far. p_worse is the same with ≤.
- p_holm: the p-value corrected for the number of clusters that are tested (Holm 1979).
- overall: the same test on the sum, over clusters, of the standardised drops.

These functions are plain arithmetic on small arrays.
"""

from dataclasses import dataclass

import numpy as np

from unitrank_schemas.results import Verdict

EPSILON = 1e-9
"""Allowance for rounding in comparisons of counts."""
MIN_TESTED = 2
"""Test examples below which a verdict is undecided."""


def drop(intact: float, scores: np.ndarray) -> np.ndarray:
    """Return D, the mean over counts of S₀ − S_k, in units of F.

    `intact`: S₀, the mean F with no unit replaced.
    `scores`: S_k, with the counts on the last axis.

    >>> float(drop(10.0, np.array([8.0, 4.0])))
    4.0
    """
    return np.asarray((intact - scores).mean(-1))


def area(drop: float, *, intact: float, all_replaced: float, magnitude: float) -> float | None:
    """Return D / (S₀ − S_n): the drop as a share of the drop with all units replaced.

    `intact`, `all_replaced`: S₀ and S_n, the mean F with no unit and with all units replaced.
    `magnitude`: the mean |F| with no unit replaced.

    None where S₀ − S_n ≤ 0.01 · magnitude, because the divisor is then close to zero.

    >>> area(4.0, intact=10.0, all_replaced=2.0, magnitude=10.0)
    0.5
    """
    total = intact - all_replaced
    return None if total <= 0.01 * magnitude else drop / total


@dataclass(frozen=True)
class Chance:
    """The place of a drop among the drops of R random orders."""

    p_value: float
    """Share of the R + 1 orders (the ranking counts as one) with at least this drop."""
    p_worse: float
    """Share of the R + 1 orders with at most this drop."""
    verdict: Verdict


def chance(drop: float, random: np.ndarray, level: float) -> Chance:
    """Compare a drop with those of random orders: significant where p ≤ 1 − level.

    `random`: the drops of R random orders.
    `level`: the confidence level of the test, such as 0.95.

    >>> chance(4.0, np.arange(19) / 10, level=0.95)
    Chance(p_value=0.05, p_worse=1.0, verdict='better_than_random')
    """
    orders = len(random) + 1
    better = (1 + int((random >= drop).sum())) / orders
    worse = (1 + int((random <= drop).sum())) / orders
    limit = (1 - level) * orders + EPSILON
    if orders * better <= limit:
        return Chance(better, worse, "better_than_random")
    if orders * worse <= limit:
        return Chance(better, worse, "worse_than_random")
    return Chance(better, worse, "no_better_than_random")


def choices(n: int, counts: list[int], enough: float) -> int:
    """Return the number of ways to choose the units of all counts from n units.

    `enough`: a number above `enough` need not be exact.

    >>> choices(4, [1, 2], enough=100)  # the first unit, then one of three
    12
    """
    ways, left = 1, n
    for count, before in zip(counts, [0, *counts], strict=False):
        chosen = count - before
        # Factor by factor, because the binomial coefficient of a large layer has a million digits.
        combinations = 1
        for taken in range(min(chosen, left - chosen)):
            combinations = combinations * (left - taken) // (taken + 1)
            if ways * combinations > enough:
                return ways * combinations
        ways *= combinations
        left -= chosen
    return ways


def decidable(n: int, counts: list[int], random: int, level: float, tests: int) -> bool:
    """Return True where the test can be significant at all.

    The test needs R ≥ level / (1 − level) random orders, 1 / (1 − level) ways to choose the units,
    and MIN_TESTED test examples.

    `n`: number of units. `counts`: numbers of replaced units. `random`: R. `tests`: number of test
        examples.

    >>> decidable(100, [10, 50], random=19, level=0.95, tests=20)
    True
    >>> decidable(100, [10, 50], random=18, level=0.95, tests=20)  # the smallest p is 1/19
    False
    """
    enough = 1 / (1 - level)
    if not counts or tests < MIN_TESTED or random < level / (1 - level) - EPSILON:
        return False
    return choices(n, counts, enough) >= enough - EPSILON


def overall(drops: np.ndarray, random: np.ndarray, level: float) -> Chance:
    """Test the drops of all clusters together.

    In each cluster, the R + 1 drops are standardised to mean 0 and deviation 1, so that every
    cluster has equal weight. The ranking's sum over clusters is then compared with the sums of the
    random orders.

    `drops`: the ranking's drops, `[clusters]`.
    `random`: the random orders' drops, `[clusters, R]`.
    """
    all_drops = np.concatenate([drops[:, None], random], axis=1)
    centred = all_drops - all_drops.mean(1, keepdims=True)
    deviation = centred.std(1, keepdims=True)
    # Drops that differ by rounding only count as equal.
    flat = deviation <= 1e-12 * np.abs(all_drops).max(1, keepdims=True)
    sums = np.divide(centred, deviation, out=np.zeros_like(centred), where=~flat).sum(0)
    return chance(float(sums[0]), sums[1:], level)


def holm(p_values: list[float | None]) -> list[float | None]:
    """Correct the p-values of several clusters for their number (Holm 1979); None stays None.

    A corrected p-value ≤ 0.05 is significant at 5 % for all clusters together: at most 5 % of jobs
    with noise have a cluster with such a value.

    >>> holm([0.01, None, 0.04])
    [0.02, None, 0.04]
    """
    ascending = sorted((p, index) for index, p in enumerate(p_values) if p is not None)
    corrected: list[float | None] = [None] * len(p_values)
    highest = 0.0
    for rank, (p, index) in enumerate(ascending):
        highest = max(highest, min(1.0, (len(ascending) - rank) * p))
        corrected[index] = highest
    return corrected
