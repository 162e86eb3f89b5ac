"""The exact drop of the target F when a few units are replaced together, on test examples.

Complete: the drop of each test example is measured, with one pass of the tail for each set of units
and example. Where affine operations follow the place, only later operations run
(`exact_ablation/replacing.py`).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from unitrank_engine.ablation.cluster_batches import ClusterBatch, sums_of_clusters, tested_batches
from unitrank_engine.errors import EngineError
from unitrank_engine.job.baselines import Inputs
from unitrank_engine.job.batch_size import rows_behind
from unitrank_engine.job.fills import Fills
from unitrank_engine.job.targets import Fixed
from unitrank_engine.methods.exact_ablation.replacing import Plan, outputs
from unitrank_engine.program.split import Live
from unitrank_schemas.base import Fill


@dataclass(frozen=True)
class IntactBatch:
    """A batch of test examples of one cluster, before any unit is replaced."""

    x: Inputs
    h: Float[Tensor, "rows *place"]
    live: Live
    fixed: Fixed
    f: Float[Tensor, " rows"]
    """F(h), in float64."""
    fill: Float[Tensor, "one_or_rows *place"]
    """The values that replace units."""
    changes: Bool[Tensor, "rows units"]
    """Whether a unit differs from its fill."""


class ExactDrops:
    """Replaces sets of units of test examples, with one fill.

    `stage`: the stage of the job whose progress advances.
    """

    def __init__(self, fills: Fills, fill: Fill, stage: str) -> None:
        self.fills = fills
        self.context = fills.context
        self.fill = fill
        self.stage = stage
        self.halvings = 0
        """How often memory ran out; each time halves the rows of a pass."""
        self.halved = False
        """Whether memory ran out in a pass, so that its values round differently."""

    def sums(self, sums: Callable[[int, IntactBatch], Tensor], *, sets: int) -> dict[int, np.ndarray]:
        """Return for each cluster with test examples the sum over its batches.

        `sums`: takes a cluster and a batch; returns the batch's sum.
        `sets`: the number of sets of units that are replaced in each example.

        Raises EngineError `non_finite`.
        """
        self.fills.prepare([self.fill])
        before = self.context.cost.halvings
        of_clusters = sums_of_clusters(
            self.context,
            self.stage,
            tested_batches(self.context, self.fills.batch),
            lambda batch: np.asarray(sums(batch.cluster, self._intact(batch)).cpu().numpy()),
            operations=self.context.split.tail_cost * sets,
        )
        self.halved = self.halved or self.context.cost.halvings > before
        return of_clusters

    def _intact(self, batch: ClusterBatch) -> IntactBatch:
        context, chosen = self.context, batch.rows
        x = context.examples.inputs(chosen)
        h, live = context.split.head(x)
        with torch.no_grad():
            output = context.split.tail(h, live)
            fixed = context.fix(output, chosen)
            f = context.score(output, fixed).double()
        context.cost.forward_rows += len(chosen)
        fill = self.fills.of(self.fill, chosen, batch.cluster, x)
        changes = context.units.reduce((h != fill).float()) > 0
        return IntactBatch(x, h, live, fixed, f, fill, changes)

    def of(self, batch: IntactBatch, sets: Int[Tensor, "sets size"]) -> Float[Tensor, "sets rows"]:
        """Return F(h) − F(h with the units of a set replaced), in float64.

        A set whose units all equal their fill gets exactly 0, because the second pass may round
        differently. The units of a set are all different.

        Raises EngineError `non_finite`.
        """
        while True:
            try:
                drops = self._drops(batch, sets)
            except torch.OutOfMemoryError:
                if self._most_rows <= len(batch.h):
                    raise
                self.halvings += 1
                self.context.cost.halvings += 1
                continue
            self.context.meter.advance(self.stage, drops.numel())
            return torch.where(batch.changes.T[sets].any(1), drops, torch.zeros_like(drops))

    @property
    def _most_rows(self) -> int:
        """Rows of one pass, at most."""
        return rows_behind(Plan.of(self.context).rest, self.context.device) >> self.halvings

    def _drops(self, batch: IntactBatch, sets: Int[Tensor, "sets size"]) -> Float[Tensor, "sets rows"]:
        context = self.context
        drops = torch.empty(len(sets), len(batch.h), dtype=torch.float64, device=context.device)
        ranges = outputs(
            context,
            Plan.of(context),
            batch.x,
            (batch.h, batch.live),
            batch.fill,
            self._count,
            sets=sets,
            most_rows=self._most_rows,
        )
        for first, output in ranges:
            f = context.score(output.flatten(0, 1), batch.fixed.repeat(len(output))).reshape(len(output), -1)
            drops[first : first + len(output)] = batch.f - f.double()
        if not torch.isfinite(drops).all():
            raise EngineError(
                "non_finite", "the target became NaN or infinite with units replaced; choose another fill or another score"
            )
        return drops

    def _count(self, rows: int, *, backward: bool) -> None:
        self.context.cost.forward_rows += rows
