"""The verdict on a ranking, from its drop of F and the drops of random orders.

- drop D: the mean, over the counts k, of S₀ − S_k. S_k is the mean F with the first k units
  replaced; a large D means that F depends on the units that the ranking puts first.
- area: D as a share of the drop with all units replaced, D / (S₀ − S_n). It can exceed 1 where
  replacing the top units hurts more than replacing all.
- p_value: (1 + number of random orders with a drop ≥ D) / (R + 1), for R random orders. 0.01 means
  that no more than 1 % of the R + 1 orders drop as far. p_worse is the same with ≤.
- p_holm: the p-value corrected for the number of clusters that are tested (Holm 1979).

family.py has the verdict over all clusters, and the corrections for several clusters and rankings.

These functions are plain arithmetic on small arrays.
"""

from dataclasses import dataclass
from math import ceil

import numpy as np

from unitrank_schemas.results import Verdict

EPSILON = 1e-9
"""Allowance for rounding in comparisons of counts."""
MIN_TOTAL = 0.05
"""A smaller drop with all units replaced, as a share of mean |F|, gives no area."""
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


def area(drop: float, *, total: float, magnitude: float) -> float | None:
    """Return D / (S₀ − S_n): the drop as a share of the drop with all units replaced.

    `total`: S₀ − S_n.
    `magnitude`: the mean |F| with no unit replaced.

    None where S₀ − S_n ≤ 0.05 · magnitude, because the divisor is then close to zero.

    >>> area(4.0, total=8.0, magnitude=10.0)
    0.5
    """
    return None if not total > MIN_TOTAL * magnitude else drop / total


@dataclass(frozen=True)
class Chance:
    """The place of a drop among the drops of R random orders."""

    p_value: float
    """Share of the R + 1 orders (the ranking counts as one) with at least this drop."""
    p_worse: float
    """Share of the R + 1 orders with at most this drop."""
    orders: int
    """R + 1."""


def chance(drop: float, random: np.ndarray) -> Chance:
    """Compare a drop with those of R random orders.

    >>> chance(4.0, np.arange(19) / 10)
    Chance(p_value=0.05, p_worse=1.0, orders=20)
    """
    orders = len(random) + 1
    return Chance((1 + int((random >= drop).sum())) / orders, (1 + int((random <= drop).sum())) / orders, orders)


def verdict(chance: Chance, level: float) -> Verdict:
    """Return the verdict: significant where p ≤ 1 − level.

    `level`: the confidence level of the test, such as 0.95.

    >>> verdict(Chance(p_value=0.05, p_worse=1.0, orders=20), level=0.95)
    'better_than_random'
    """
    limit = (1 - level) * chance.orders + EPSILON
    if chance.orders * chance.p_value <= limit:
        return "better_than_random"
    return "worse_than_random" if chance.orders * chance.p_worse <= limit else "no_better_than_random"


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


def undecided(n: int, counts: list[int], random: int, level: float, tests: int) -> str | None:
    """Return why the test cannot be significant at all, and what to change; None if it can be.

    The test needs R ≥ level / (1 − level) random orders, 1 / (1 − level) ways to choose the units,
    and MIN_TESTED test examples.

    `n`: number of units. `counts`: numbers of replaced units. `random`: R. `tests`: number of test
        examples.

    >>> undecided(100, [10, 50], random=19, level=0.95, tests=20)
    >>> undecided(100, [10, 50], random=18, level=0.95, tests=1)
    'the number of test examples is 1, and 2 are needed; use larger clusters'
    """
    enough, least = 1 / (1 - level), ceil(level / (1 - level) - EPSILON)
    if not counts:
        return "no fraction replaces at least one unit and leaves at least one; use larger `fractions`, or a layer with more units"
    if tests < MIN_TESTED:
        return f"the number of test examples is {tests}, and {MIN_TESTED} are needed; use larger clusters"
    if random < least:
        smallest = f"because the smallest p is 1/{random + 1}"
        return f"{random} random orders are too few for the level {level:g}, {smallest}; use at least {least}"
    if (ways := choices(n, counts, enough)) < enough - EPSILON:
        return f"{n} units can be replaced in {ways} ways only, so that chance alone reaches the level {level:g}; use more units"
    return None


def holm(p_values: list[float | None]) -> list[float | None]:
    """Correct the p-values of several clusters for their number (Holm 1979); None stays None.

    `family.py` has a correction with more power.

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
