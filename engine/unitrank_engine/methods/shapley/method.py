"""Shapley values of units, exact for a few units and otherwise from random orders."""

from collections.abc import Sequence
from functools import partial
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor

from unitrank_engine.job.context import JobContext
from unitrank_engine.methods.batch import ScoreVariance
from unitrank_engine.methods.method import ScoringMethod
from unitrank_engine.methods.shapley.affine_units import CONTRIBUTION_BYTES, AffineUnits
from unitrank_engine.methods.shapley.replaced_sets import ReplacedSets
from unitrank_engine.methods.shapley.sampling import PermutationStream
from unitrank_engine.methods.shapley.set_passes import SetPasses
from unitrank_engine.methods.shapley.set_targets import set_targets
from unitrank_schemas.methods import MOST_ENUMERATED, MethodBase, Shapley


class ShapleyMethod(ScoringMethod):
    """s = mean over orders of F(h with the units before it replaced) − F(the unit, too)."""

    sampled = True
    _variance: Tensor

    @classmethod
    def prepare(cls, entry: MethodBase, context: JobContext) -> AffineUnits | None:
        return context.once(AffineUnits.of)

    @classmethod
    def points(cls, entry: MethodBase) -> dict[float, bool]:
        return {0.0: False, 1.0: False}

    @classmethod
    def passes(cls, entry: MethodBase, context: JobContext) -> int:
        units = context.units.count
        return 2**units - 1 if units <= MOST_ENUMERATED else cast(Shapley, entry).permutations * (units - 1) + 1

    @classmethod
    def by_target(cls, methods: Sequence[ScoringMethod]) -> list[Float[Tensor, "rows units"]]:
        group = cast(Sequence[ShapleyMethod], methods)
        first = group[0]
        affine, rows = cast(AffineUnits | None, first.prepared), len(first.batch.rows)
        size = rows if affine is None else max(1, CONTRIBUTION_BYTES // affine.bytes_each)
        pieces = [first._of_rows(group, slice(start, start + size), affine) for start in range(0, rows, size)]
        for number, method in enumerate(group):
            method._variance = torch.cat([piece[number][1] for piece in pieces])
        return [torch.cat([piece[number][0] for piece in pieces]) for number in range(len(group))]

    def variance(self) -> ScoreVariance:
        pairs = cast(Shapley, self.entry).permutations // 2
        return ScoreVariance(self._variance, max(1, pairs - 1))

    def _of_rows(self, group: Sequence["ShapleyMethod"], rows: slice, affine: AffineUnits | None) -> list[tuple[Tensor, Tensor]]:
        """Return the scores of some of the batch's rows and their variances, for each target."""
        entry, batch = cast(Shapley, self.entry), self.batch
        sets = ReplacedSets(batch, entry.fill, affine, rows)
        targets = set_targets(
            [method.batch.context for method in group], [method.batch.ends.fixed.of(rows) for method in group], sets
        )
        intact = torch.stack([method.batch.ends.f[rows] for method in group]).double()[:, None]
        f = SetPasses(sets, targets, intact, partial(batch.count, targets=len(group)))
        enumerated = batch.context.units.count <= MOST_ENUMERATED
        name, number = ("enumerated_sets", 2**batch.context.units.count) if enumerated else ("permutations", entry.permutations)
        for method in group:
            method.batch.notes.maximum(name, number)
        if enumerated:
            return [(values, torch.zeros_like(values)) for values in f.enumerated()]
        stream = PermutationStream(batch.context.streams, batch.rows[rows], batch.context.units.count, batch.context.device)
        return [(means.estimate, means.variance) for means in f.sampled(stream, entry.permutations // 2)]


FAMILY: dict[str, type[ScoringMethod]] = {"shapley": ShapleyMethod}
