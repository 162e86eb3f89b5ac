"""Shapley values of units, exact for a few units and otherwise from random orders."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor

from unitrank_engine.job.context import JobContext
from unitrank_engine.methods.batch import ScoreVariance
from unitrank_engine.methods.method import ScoringMethod
from unitrank_engine.methods.shapley.enumeration import all_sets, shapley_values
from unitrank_engine.methods.shapley.replaced_sets import CONTRIBUTION_BYTES, AffineUnits, ReplacedSets
from unitrank_engine.methods.shapley.sampling import PairMeans, PermutationStream, drops, equal_parts
from unitrank_schemas.methods import MOST_ENUMERATED, MethodBase, Shapley

MOST_POSITIONS = 2**22
"""Positions of units in the orders that are replaced together, at most, unless a pair has more."""


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
        units, entry = self.batch.context.units.count, cast(Shapley, self.entry)
        count = partial(self.batch.count, targets=len(group))
        sets = ReplacedSets(replace(self.batch, count=count), entry.fill, affine, rows)
        if units <= MOST_ENUMERATED:
            for method in group:
                method.batch.notes.maximum("enumerated_sets", 2**units)
            return [(values, torch.zeros_like(values)) for values in self._enumerated(group, rows, sets)]
        for method in group:
            method.batch.notes.maximum("permutations", entry.permutations)
        return [(means.estimate, means.variance) for means in self._sampled(group, rows, sets)]

    def _enumerated(self, group: Sequence["ShapleyMethod"], rows: slice, sets: ReplacedSets) -> Iterator[Tensor]:
        others = all_sets(sets.changes.shape[1], sets.h.device)[1:, None]
        f = self._targets(group, rows, sets.outputs(others))
        for method, of_sets in zip(group, f, strict=True):
            yield shapley_values(torch.cat([method.batch.ends.f[None, rows].double(), of_sets]), sets.changes)

    def _sampled(self, group: Sequence["ShapleyMethod"], rows: slice, sets: ReplacedSets) -> list[PairMeans]:
        context, entry, units = self.batch.context, cast(Shapley, self.entry), sets.changes.shape[1]
        stream = PermutationStream(context.streams, self.batch.rows[rows], units, context.device)
        every = torch.ones(1, 1, units, dtype=torch.bool, device=context.device)
        with_all = self._targets(group, rows, sets.outputs(every))
        means = [PairMeans.empty(sets.changes) for _ in group]
        for pairs in equal_parts(
            entry.permutations // 2, max(1, min(sets.sets_at_once, MOST_POSITIONS // sets.changes.numel()) // 2)
        ):
            orders = stream.next_pairs(pairs)
            between = self._targets(group, rows, sets.nested_outputs(orders))
            for method, its_means, its_f, end in zip(group, means, between, with_all, strict=True):
                start = method.batch.ends.f[rows].double()
                whole = [each.expand(1, len(orders), -1) for each in (start, end)]
                its_means.add(
                    drops(torch.cat([whole[0], its_f.reshape(-1, len(orders), its_f.shape[-1]), whole[1]]), orders, sets.changes)
                )
        return means

    def _targets(
        self, group: Sequence["ShapleyMethod"], rows: slice, outputs: Iterator[Tensor]
    ) -> list[Float[Tensor, "sets rows"]]:
        """Return F of each target with each set replaced, in float64."""
        pieces: list[list[Tensor]] = [[] for _ in group]
        for output in outputs:
            for method, its_pieces in zip(group, pieces, strict=True):
                its_pieces.append(method._f(output, rows))
        return [torch.cat(its_pieces) for its_pieces in pieces]

    def _f(self, output: Tensor, rows: slice) -> Float[Tensor, "sets rows"]:
        fixed = self.batch.ends.fixed.of(rows)
        times = len(output) // len(fixed.classes)
        return self.batch.context.score(output, fixed.repeat(times)).reshape(times, -1).double()


FAMILY: dict[str, type[ScoringMethod]] = {"shapley": ShapleyMethod}
