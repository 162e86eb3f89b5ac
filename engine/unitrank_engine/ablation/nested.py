"""Masks of one order contain each other: behind an affine part each replaced unit is added once, and not at every count anew.

Six counts up to a half of the 1600 units behind the second convolution of the paper's net are six products with all units, or
one with the half of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from unitrank_engine.job.baselines import Inputs
from unitrank_engine.job.batch_size import rows_behind
from unitrank_engine.job.context import JobContext
from unitrank_engine.methods.exact_ablation.replacing import Plan
from unitrank_engine.program import Split
from unitrank_engine.program.linearity.columns import affine_part
from unitrank_engine.program.split import Live

WORTH = 2.0
"""So many times fewer operations, or the memory that is gathered costs more than they do."""
FEWEST = 256
"""Elements of a place; below there is little to save, and orders tie often: sums in another order would break the ties."""


@dataclass(frozen=True)
class Behind:
    """Some examples at the end of the affine part, at their unaltered values."""

    values: Float[Tensor, "rows *value"]
    live: Live


@dataclass(frozen=True)
class Nested:
    """The affine part as one column an element of the place, and what is run behind it."""

    context: JobContext
    rest: Split
    columns: Float[Tensor, "elements value"]

    @classmethod
    def of(cls, context: JobContext, counts: Sequence[int]) -> "Nested | None":
        """None where nothing is saved."""
        part = affine_part(context.program, context.split.place, context.output)
        if part is None or not counts or context.split.place.units < FEWEST:
            return None
        split, rest = part
        products = 2 * context.split.place.units * rest.place.units * max(counts) / context.units.count
        if WORTH * products > len(counts) * split.tail_cost or not rest.repeatable:
            return None
        columns = Plan.of(context).columns
        return None if columns is None else cls(context, rest, columns.flatten(1))

    @property
    def rows(self) -> int:
        """That go through the rest of the model at once."""
        return rows_behind(self.rest, self.context.device)

    def at(self, x: Inputs) -> Behind:
        return Behind(*self.rest.head(x))

    def outputs(
        self, behind: Behind, change: Float[Tensor, "rows *place"], positions: Int[Tensor, " units"], counts: Sequence[int]
    ) -> Tensor:
        """The model's output with the order's first units changed, for ascending counts of them, one full round after another."""
        units, place = self.context.units, self.context.split.place
        # elements by the position of their unit; those of one channel stand together
        where = units.spread(positions[None])[0].expand(place.shape).flatten().argsort(stable=True)
        each, flat = place.units // units.count, change.flatten(1)
        total, at, values = behind.values.flatten(1), 0, []
        for count in counts:
            chosen = where[at : count * each]
            total = torch.addmm(total, flat[:, chosen], self.columns[chosen])
            values.append(total)
            at = count * each
        changed = torch.stack(values).reshape(-1, *behind.values.shape[1:])
        return self.rest.tail(changed, behind.live)
