"""Exact ablation: the drop of the target when one unit is replaced by its fill."""

from collections.abc import Sequence
from functools import partial
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor

from unitrank_engine.job.context import JobContext
from unitrank_engine.methods.exact_ablation.replacing import Plan, outputs
from unitrank_engine.methods.method import ScoringMethod
from unitrank_schemas.methods import ExactAblation, MethodBase


class ExactAblationMethod(ScoringMethod):
    """s = F(h) − F(h with the unit replaced), for each unit in turn."""

    @classmethod
    def prepare(cls, entry: MethodBase, context: JobContext) -> Plan:
        return Plan.of(context)

    @classmethod
    def points(cls, entry: MethodBase) -> dict[float, bool]:
        return {0.0: False, 1.0: False}

    @classmethod
    def passes(cls, entry: MethodBase, context: JobContext) -> int:
        return context.units.count

    @classmethod
    def by_target(cls, methods: Sequence[ScoringMethod]) -> list[Float[Tensor, "rows units"]]:
        group = cast(Sequence[ExactAblationMethod], methods)
        batch, ends, plan = group[0].batch, group[0].batch.ends, cast(Plan, group[0].prepared)
        context, count = batch.context, partial(batch.count, targets=len(group))
        fill = batch.fill(cast(ExactAblation, group[0].entry).fill)
        drops = [torch.empty(len(batch.rows), context.units.count, dtype=ends.f.dtype, device=context.device) for _ in group]
        for first, output in outputs(context, plan, ends.x, (ends.input.h, ends.live), fill, count):
            for method, its_drops in zip(group, drops, strict=True):
                its_drops[:, first : first + len(output)] = method._drops(output).T
        # A unit that equals its fill gets a score of exactly 0, because the second pass may round
        # differently.
        differs = context.units.reduce((ends.input.h != fill).float()) > 0
        return [torch.where(differs, each, torch.zeros_like(each)) for each in drops]

    def _drops(self, output: Float[Tensor, "units rows *output"]) -> Float[Tensor, "units rows"]:
        """Return the drop of F with each of these units replaced."""
        context, ends = self.batch.context, self.batch.ends
        f = context.score(output.flatten(0, 1), ends.fixed.repeat(len(output))).reshape(len(output), -1)
        return ends.f - f


FAMILY: dict[str, type[ScoringMethod]] = {"exact_ablation": ExactAblationMethod}
