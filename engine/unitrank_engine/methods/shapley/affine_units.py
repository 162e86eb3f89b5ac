"""The contributions of units to the value of the affine operations that follow the place.

Replacing a unit adds a contribution of its own to that value. The contributions of an example are
computed once, and each set of units costs their sum.
"""

from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float, Int
from torch import Tensor

from unitrank_engine.job.baselines import Inputs
from unitrank_engine.job.batch_size import rows_behind
from unitrank_engine.job.context import JobContext
from unitrank_engine.methods.exact_ablation.replacing import Plan, is_precise
from unitrank_engine.program import Split
from unitrank_engine.program.linearity.columns import affine_part

CONTRIBUTION_BYTES = 64 * 2**20
"""Bytes of the contributions of some examples, at most. Units are masked where one has more."""


@dataclass(frozen=True)
class AffineUnits:
    """The affine part that follows the place, by unit.

    `split`: from the place to the end of the affine part. `rest`: the part behind.
    `bytes_each`: bytes of the contributions of one example.
    """

    context: JobContext
    split: Split
    rest: Split
    bytes_each: int

    @classmethod
    def of(cls, context: JobContext) -> "AffineUnits | None":
        """Return None where no affine operations follow, or where contributions are too large."""
        part = affine_part(context.program, context.split.place, context.output)
        if part is None or not is_precise(part[0]) or not part[0].repeatable or not part[1].repeatable:
            return None
        split, rest = part
        bytes_each = context.units.count * rest.place.units * int(rest.place.node.meta["val"].element_size())
        return None if bytes_each > CONTRIBUTION_BYTES else cls(context, split, rest, bytes_each)

    @cached_property
    def _columns(self) -> tuple[Int[Tensor, " elements"], list[int], Float[Tensor, "elements value"]] | None:
        """The elements of the place sorted by unit, the size of each unit, and these columns.

        None where the job keeps no columns.
        """
        plan, units, device = Plan.of(self.context), self.context.units, self.context.device
        if plan.columns is None:
            return None
        numbers = units.spread(torch.arange(units.count, device=device)[None])[0]
        unit_of_element = numbers.expand(self.split.place.shape).flatten()
        elements = unit_of_element.argsort(stable=True)
        return elements, torch.bincount(unit_of_element, minlength=units.count).tolist(), plan.columns.flatten(1)[elements]

    def contributions(self, change: Float[Tensor, "rows *place"], x: Inputs) -> Float[Tensor, "units rows value"]:
        """Return the change of the affine part's value when each unit is replaced.

        `change`: the fill minus h. `x`: the inputs of the rows.
        """
        return self._by_passes(change, x) if self._columns is None else self._by_columns(change)

    def _by_columns(self, change: Float[Tensor, "rows *place"]) -> Float[Tensor, "units rows value"]:
        assert self._columns is not None
        elements, sizes, columns = self._columns
        by_element = change.flatten(1)[:, elements].T.to(columns.dtype)
        if len(set(sizes)) == 1:
            parts = by_element.reshape(len(sizes), sizes[0], -1)
            of_units = columns.reshape(*parts.shape[:2], -1)
            return parts[:, 0, :, None] * of_units if sizes[0] == 1 else torch.bmm(parts.mT, of_units)
        pieces = zip(torch.split(by_element, sizes), torch.split(columns, sizes), strict=True)
        return torch.stack([part.T @ of_unit for part, of_unit in pieces])

    def _by_passes(self, change: Float[Tensor, "rows *place"], x: Inputs) -> Float[Tensor, "units rows value"]:
        """Run the affine part once for each unit, with the unit's change alone."""
        units, (_, live), axis = self.context.units, self.split.head(x), self.rest.place.batch_axis
        every = torch.eye(units.count, dtype=torch.bool, device=change.device)
        pieces = []
        with torch.no_grad():
            at_zero = self.split.tail(torch.zeros_like(change), live).movedim(axis, 0)
            for chosen in torch.split(every, max(1, rows_behind(self.split, change.device) // len(change))):
                changes = torch.where(units.spread(chosen)[:, None], change, 0).flatten(0, 1)
                values = self.split.tail(changes, live).movedim(axis, 0)
                pieces.append(values.reshape(len(chosen), *at_zero.shape) - at_zero)
        return torch.cat(pieces).flatten(2)
