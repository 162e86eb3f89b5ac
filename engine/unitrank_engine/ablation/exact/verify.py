"""Verifies a ranking's top: the exact effect of the highest units and of a sample of the others.

The effect of a unit is the mean over the test examples of F(h) − F(h with the unit replaced).

- precision: the share of the ranking's top that is in the true top of the highest units. The
  ranking's 2 · top highest units are measured; the true top are those with the largest effects.
- missed_at_most: max{K: HypergeomCDF(x; N − m, K, s) > 1 − level}. Of N units, m are the highest
  ones, and s are drawn from the others. x of the s have an effect above τ, the smallest effect in
  the true top. If more than K of the others had such an effect, a sample with at most x of them
  would have a chance of at most 1 − level. The limit is sound and loose.

Cost: (m + s) passes of the tail for each test example and ranking.
"""

from dataclasses import dataclass

import numpy as np
import torch
from scipy import stats

from unitrank_engine.ablation.exact.drops import ExactDrops
from unitrank_engine.ablation.masks.orders import Orders
from unitrank_engine.attribution.statistics import spearman
from unitrank_engine.job.fills import Fills
from unitrank_schemas.base import Fill
from unitrank_schemas.jobs.ablation import Verify
from unitrank_schemas.results import Verified


@dataclass(frozen=True)
class VerifiedUnits:
    """The units of one ranking of one cluster that are replaced one by one.

    `highest`: the ranking's highest units, the first one first.
    `sample`: units drawn from all others.
    """

    highest: np.ndarray
    sample: np.ndarray

    @property
    def all(self) -> np.ndarray:
        return np.concatenate([self.highest, self.sample])


class Verification:
    """Verifies rankings with the fill of the ablation."""

    stage = "verify"

    def __init__(self, fills: Fills, request: Verify, fill: Fill) -> None:
        self.context = fills.context
        self.request = request
        self.drops = ExactDrops(fills, fill, self.stage)
        self._orders = Orders(self.context.units.count, self.context.streams)
        self._draw = self.context.streams.generator("verify").permutation(self.context.units.count)
        """Clusters and rankings take the first units of this draw that are not in their top."""

    @property
    def shape(self) -> tuple[int, int]:
        """The shape of the effects: the clusters, and the units that are replaced."""
        units = min(self.context.units.count, 2 * self.request.top + self.request.sample)
        return len(self.context.clusters), units

    def plan(self, rankings: int) -> None:
        """Announce the stage's rows for this number of rankings."""
        examples = sum(len(halves.tested) for halves in self.context.halves)
        self.context.meter.plan(self.stage, rankings * examples * self.shape[1], self.context.split.tail_cost)

    def units(self, cluster: int, importance: np.ndarray) -> VerifiedUnits:
        """Return the units that are replaced; ties are in the cluster's random order."""
        positions = self._orders.most(importance, self.context.clusters[cluster].name)
        highest = np.argsort(positions)[: 2 * self.request.top]
        others = self._draw[positions[self._draw] >= len(highest)]
        return VerifiedUnits(highest, others[: self.request.sample])

    def measure(self, importance: list[np.ndarray]) -> np.ndarray:
        """Return the effect of each verified unit, `[clusters, units]`.

        NaN for clusters without test examples.

        `importance`: each cluster's importance of every unit, from the examples that rank.

        Raises EngineError `non_finite`.
        """
        effects = np.full(self.shape, np.nan)
        sets = [
            torch.from_numpy(self.units(cluster, values).all)[:, None].to(self.context.device)
            for cluster, values in enumerate(importance)
        ]
        sums = self.drops.sums(lambda cluster, batch: self.drops.of(batch, sets[cluster]).sum(1), sets=self.shape[1])
        for cluster, total in sums.items():
            effects[cluster] = total / len(self.context.halves[cluster].tested)
        return effects

    def verified(self, cluster: int, importance: np.ndarray, effects: np.ndarray, level: float) -> Verified | None:
        """Return the result of one cluster; None without test examples.

        `effects`: the effect of each verified unit.
        `level`: the confidence level of the limit.
        """
        if np.isnan(effects).any():
            return None
        units = self.units(cluster, importance)
        highest, others = effects[: len(units.highest)], effects[len(units.highest) :]
        bar = np.sort(highest)[-self.request.top]
        exceeding = int((others > bar).sum())
        population = len(importance) - len(highest)
        return Verified(
            precision=precision(highest, self.request.top),
            spearman=spearman(importance[units.all], effects),
            missed_at_most=missed_at_most(exceeding, population=population, sample=len(others), level=level),
        )


def precision(effects: np.ndarray, top: int) -> float:
    """Return the share of the first `top` units that have the `top` largest effects.

    Units with equal effects at the end of the true top count in proportion.

    `effects`: the effect of each unit, in the order of the ranking.

    >>> precision(np.array([5.0, 1.0, 3.0, 0.0]), top=2)
    0.5
    >>> precision(np.zeros(4), top=2)  # each unit is in the true top with a chance of 1/2
    0.5
    """
    bar = np.sort(effects)[-top]
    share = (top - (effects > bar).sum()) / (effects == bar).sum()
    return float((effects[:top] > bar).sum() + share * (effects[:top] == bar).sum()) / top


def missed_at_most(exceeding: int, *, population: int, sample: int, level: float) -> int:
    """Return the largest number K of exceeding units that the sample does not rule out at `level`.

    `exceeding`: the number of units of the sample whose effect is larger.
    `population`: the number of units that the sample is drawn from.
    `sample`: the number of units that are drawn.

    >>> missed_at_most(0, population=1560, sample=200, level=0.95)
    21
    >>> missed_at_most(3, population=50, sample=50, level=0.95)  # all are measured
    3
    """
    low, high = exceeding, population
    while low < high:
        middle = (low + high + 1) // 2
        if stats.hypergeom.cdf(exceeding, population, middle, sample) > 1 - level:
            low = middle
        else:
            high = middle - 1
    return low
