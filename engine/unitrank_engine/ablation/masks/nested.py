"""Shared work of nested masks: in one order, a larger count replaces all units of a smaller one.

Where affine operations follow the place, each replaced unit changes their result by a fixed column.
A mask's result is the next smaller mask's result plus the columns of the new units.

Example: six counts up to half of the 1600 units after the second convolution of the paper's net.
Run separately, they cost six products with all units; nested, they cost one product with half of
the units.
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
from unitrank_engine.program.joint_split import JointSplit
from unitrank_engine.program.linearity.columns import affine_part
from unitrank_engine.program.split import Live

MIN_SPEEDUP = 2.0
"""Factor by which nesting must reduce the operations.

Below, reading the columns costs more than it saves.
"""
MIN_ELEMENTS = 256
"""Elements of a place below which nesting is not used.

Nesting saves little there, and orders tie often: sums in a different order would break the ties.
"""


@dataclass(frozen=True)
class AffineEnd:
    """Values at the end of the affine part for some examples, before any unit is replaced."""

    values: Float[Tensor, "rows *value"]
    live: Live


@dataclass(frozen=True)
class Nested:
    """Runs nested masks of one order, with one column for each element of the place."""

    context: JobContext
    rest: Split
    """From the end of the affine part to the output."""
    columns: Float[Tensor, "elements value"]
    """The change of the affine part's value when an element of the place grows by 1."""

    @classmethod
    def of(cls, context: JobContext, counts: Sequence[int]) -> "Nested | None":
        """Return None where nesting saves no work, or no affine operations follow the place."""
        if isinstance(context.split, JointSplit):
            return None
        part = affine_part(context.program, context.split.place, context.output)
        if part is None or not counts or context.split.place.units < MIN_ELEMENTS:
            return None
        split, rest = part
        products = 2 * context.split.place.units * rest.place.units * max(counts) / context.units.count
        if MIN_SPEEDUP * products > len(counts) * split.tail_cost or not rest.repeatable:
            return None
        columns = Plan.of(context).columns
        return None if columns is None else cls(context, rest, columns.flatten(1))

    @property
    def rows(self) -> int:
        """Rows in one pass through the rest of the model, at most."""
        return rows_behind(self.rest, self.context.device)

    def at(self, x: Inputs) -> AffineEnd:
        """Return the values of these inputs at the end of the affine part."""
        return AffineEnd(*self.rest.head(x))

    def replaced(self, end: AffineEnd, change: Float[Tensor, "rows *place"]) -> AffineEnd:
        """Return the values with all units replaced. `change`: the fill minus h."""
        values = torch.addmm(end.values.flatten(1), change.flatten(1), self.columns)
        return AffineEnd(values.reshape(end.values.shape), end.live)

    def outputs(
        self, affine_end: AffineEnd, change: Float[Tensor, "rows *place"], positions: Int[Tensor, " units"], counts: Sequence[int]
    ) -> Tensor:
        """Return the output with an order's first units replaced: all examples once for each count.

        `change`: the fill minus h.
        `positions`: the position of each unit in the order.
        `counts`: numbers of replaced units, ascending.
        """
        units, place = self.context.units, self.context.split.place
        # Elements sorted by the position of their unit; the elements of one unit stay together.
        elements = units.spread(positions[None])[0].expand(place.shape).flatten().argsort(stable=True)
        elements_of_unit, flat_change = units.size, change.flatten(1)
        assert elements_of_unit is not None  # There are no columns for units of several sizes.
        total, replaced, values = affine_end.values.flatten(1), 0, []
        for count in counts:
            new = elements[replaced : count * elements_of_unit]
            total = torch.addmm(total, flat_change[:, new], self.columns[new])
            values.append(total)
            replaced = count * elements_of_unit
        changed = torch.stack(values).reshape(-1, *affine_end.values.shape[1:])
        return self.rest.tail(changed, affine_end.live)
