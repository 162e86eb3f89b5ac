"""The verdict on a ranking, from the drops that it and the random orders cause; plain arithmetic on small arrays."""

from dataclasses import dataclass

import numpy as np

from unitrank_schemas.results import Verdict

EPSILON = 1e-9
FEWEST_TESTED = 2
"""Test examples below which a verdict is undecided."""


def drop(none: float, scores: np.ndarray) -> np.ndarray:
    """D: the mean over counts of S₀ − S_k; `scores` has the counts on its last axis."""
    return np.asarray((none - scores).mean(-1))


def area(drop: float, none: float, everything: float, magnitude: float) -> float | None:
    """D / (S₀ − S_n); None where S₀ − S_n ≤ 0.01 · mean |F|, because a share of nothing means nothing."""
    total = none - everything
    return None if total <= 0.01 * magnitude else drop / total


@dataclass(frozen=True)
class Chance:
    """How a drop ranks among the drops of R random orders."""

    p_value: float
    p_worse: float
    verdict: Verdict


def chance(drop: float, random: np.ndarray, level: float) -> Chance:
    """p = (1 + #{D_r ≥ D}) / (R + 1), p_worse with ≤; significant where p ≤ 1 − level."""
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
    """In how many ways units can be chosen at all counts together; counting stops once there are enough."""
    ways, left = 1, n
    for count, before in zip(counts, [0, *counts], strict=False):
        chosen = count - before
        # the binomial coefficient factor by factor: whole, it has a million digits for a large layer
        fewer = 1
        for taken in range(min(chosen, left - chosen)):
            fewer = fewer * (left - taken) // (taken + 1)
            if ways * fewer > enough:
                return ways * fewer
        ways *= fewer
        left -= chosen
    return ways


def decidable(n: int, counts: list[int], random: int, level: float, tests: int) -> bool:
    """Whether chance can be told apart at all: enough random orders, choices of units, and test examples."""
    enough = 1 / (1 - level)
    if not counts or tests < FEWEST_TESTED or random < level / (1 - level) - EPSILON:
        return False
    return choices(n, counts, enough) >= enough - EPSILON


def overall(drops: np.ndarray, random: np.ndarray, level: float) -> Chance:
    """The verdict over clusters: in each the R + 1 drops are standardised together, then summed.

    drops: `[clusters]`, random: `[clusters, R]`.
    """
    together = np.concatenate([drops[:, None], random], axis=1)
    centred = together - together.mean(1, keepdims=True)
    deviation = centred.std(1, keepdims=True)
    # rounding alone makes no difference between orders
    flat = deviation <= 1e-12 * np.abs(together).max(1, keepdims=True)
    sums = np.divide(centred, deviation, out=np.zeros_like(centred), where=~flat).sum(0)
    return chance(float(sums[0]), sums[1:], level)


def holm(p_values: list[float | None]) -> list[float | None]:
    """Each p-value corrected for the number of clusters that have one (Holm 1979)."""
    known = sorted((p, index) for index, p in enumerate(p_values) if p is not None)
    corrected: list[float | None] = [None] * len(p_values)
    highest = 0.0
    for rank, (p, index) in enumerate(known):
        highest = max(highest, min(1.0, (len(known) - rank) * p))
        corrected[index] = highest
    return corrected
