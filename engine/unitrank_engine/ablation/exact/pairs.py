"""Pairs: how the effects of a ranking's highest units depend on each other.

The second difference of units i and j is F(h) − F(−i) − F(−j) + F(−i, −j), the mean over the test
examples. F(−i) is the target with unit i replaced. Where the second difference is

- 0, the effects of the two units add up;
- above 0, the units need each other: replacing both hurts less than the sum of their effects;
- below 0, either unit can do the work of the other: replacing both hurts more than the sum.

On the diagonal, with i = j, the formula gives F(h) − F(−i), the effect of the unit.

Cost: k + k(k − 1)/2 passes of the tail for each test example and ranking.
"""

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from unitrank_engine.ablation.exact.drops import ExactDrops, IntactBatch
from unitrank_engine.job.fills import Fills
from unitrank_schemas.base import Fill


class Pairs:
    """Replaces pairs of units with the fill of the ablation.

    `count`: k, the number of units of which all pairs are replaced.
    """

    stage = "pairs"

    def __init__(self, fills: Fills, count: int, fill: Fill) -> None:
        self.context = fills.context
        self.count = count
        self.drops = ExactDrops(fills, fill, self.stage)
        self._rows, self._columns = torch.triu_indices(count, count, 1, device=self.context.device)

    @property
    def shape(self) -> tuple[int, int, int]:
        """The shape of the second differences: the clusters, and twice the units."""
        return len(self.context.clusters), self.count, self.count

    def plan(self, rankings: int) -> None:
        """Announce the stage's rows for this number of rankings."""
        examples = sum(len(halves.tested) for halves in self.context.halves)
        sets = self.count + len(self._rows)
        self.context.meter.plan(self.stage, rankings * examples * sets, self.context.split.tail_cost)

    def measure(self, units: list[np.ndarray]) -> np.ndarray:
        """Return the mean second differences, `[clusters, k, k]`.

        NaN for clusters without test examples.

        `units`: the k units of each cluster.

        Raises EngineError `non_finite`.
        """
        differences = np.full(self.shape, np.nan)
        on_device = [torch.from_numpy(chosen).to(self.context.device) for chosen in units]
        sums = self.drops.sums(lambda cluster, batch: self._sums(batch, on_device[cluster]), sets=self.count + len(self._rows))
        for cluster, total in sums.items():
            differences[cluster] = total / len(self.context.halves[cluster].tested)
        return differences

    def _sums(self, batch: IntactBatch, units: Int[Tensor, " k"]) -> Float[Tensor, "k k"]:
        """Return the sums of the second differences over the examples of a batch."""
        first, second = units[self._rows], units[self._columns]
        alone = self.drops.of(batch, units[:, None])
        together = self.drops.of(batch, torch.stack([first, second], 1))
        differences = alone[self._rows] + alone[self._columns] - together
        # Where a unit equals its fill, nothing depends on it. The passes may round differently.
        both_change = batch.changes.T[first] & batch.changes.T[second]
        sums = torch.where(both_change, differences, torch.zeros_like(differences)).sum(1)
        matrix = torch.diag(alone.sum(1))
        matrix[self._rows, self._columns] = sums
        matrix[self._columns, self._rows] = sums
        return matrix
