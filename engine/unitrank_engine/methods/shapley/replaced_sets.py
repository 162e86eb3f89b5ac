"""Runs a model's tail with sets of units replaced, another set for each example.

Where affine operations follow the place, each unit adds a contribution of its own to their result.
The contributions of an example are computed once, and each set costs their sum and the operations
behind. Otherwise the whole tail runs for each set, with the units masked.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from unitrank_engine.job.baselines import Inputs
from unitrank_engine.job.batch_size import rows_behind
from unitrank_engine.job.context import JobContext
from unitrank_engine.methods.batch import Batch
from unitrank_engine.methods.exact_ablation.replacing import Plan, is_precise
from unitrank_engine.program import Split
from unitrank_engine.program.linearity.columns import affine_part
from unitrank_schemas.base import Fill

CONTRIBUTION_BYTES = 64 * 2**20
"""Bytes of the contributions of some examples, at most. Units are masked where one has more."""

MOST_NARROW = 256
"""Units up to which contributions are added in the type of the value: the sum loses one digit."""


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


class ReplacedSets:
    """The examples of a batch, of which sets of units are replaced.

    `affine`: None where units are masked.
    `rows`: the batch's rows that are taken.
    """

    def __init__(self, batch: Batch, fill: Fill, affine: AffineUnits | None, rows: slice) -> None:
        ends = batch.ends
        self.context, self.count = batch.context, batch.count
        self.h = ends.input.h[rows]
        fills = batch.fill(fill)
        self.fill = (fills[rows] if len(fills) > 1 else fills).expand_as(self.h)
        self.changes = self.context.units.reduce((self.h != self.fill).float()) > 0
        """Whether each unit differs from its fill, `[rows, units]`."""
        self._affine = affine
        whole = len(self.h) == len(ends.input.h)
        self._x = x = tuple(tensor[rows] for tensor in ends.x)
        if affine is not None:
            self.rest = affine.rest
            value, self.live = affine.rest.head(x)
            self._shape, self._value = value.shape[1:], value.flatten(1)
        else:
            self.rest = self.context.split
            self.live = ends.live if whole else self.context.split.head(x)[1]

    @property
    def sets_at_once(self) -> int:
        """The number of sets of each example in one pass, at most."""
        return max(1, rows_behind(self.rest, self.context.device) // len(self.h)) if self.rest.repeatable else 1

    @cached_property
    def contributions(self) -> Float[Tensor, "units rows value"]:
        assert self._affine is not None
        return self._affine.contributions(self.fill - self.h, self._x)

    def outputs(self, sets: Bool[Tensor, "sets one_or_rows units"]) -> Iterator[Tensor]:
        """Yield the model's output with each set replaced: all examples once for each set."""
        for chosen in torch.split(sets, self.sets_at_once):
            if self._affine is None:
                yield self._masked(chosen)
            else:
                changes = torch.einsum("sru,urv->srv", chosen.expand(-1, len(self.h), -1).to(self._value.dtype), self.contributions)
                yield self._behind(self._value + changes)

    def nested_outputs(self, orders: Int[Tensor, "orders rows units"]) -> Iterator[Tensor]:
        """Yield the output with the first 1, 2 … units of each order replaced, but not with all.

        Of all examples once for each order, at the first count, then at the next one.
        """
        if self._affine is None:
            positions, counts = orders.argsort(-1), torch.arange(1, orders.shape[-1], device=orders.device)
            for some in torch.split(counts, max(1, self.sets_at_once // len(orders))):
                for at in torch.split(positions, self.sets_at_once):
                    yield self._masked((at < some[:, None, None, None]).flatten(0, 1))
        else:
            yield from self._updated(orders)

    def _updated(self, orders: Int[Tensor, "orders rows units"]) -> Iterator[Tensor]:
        contributions, rows = self.contributions.flatten(0, 1), torch.arange(len(self.h), device=orders.device)
        index = (orders * len(rows) + rows[:, None]).permute(2, 0, 1).flatten(1)
        # Sums of many contributions keep their digits in float64, which takes twice the time.
        dtype = self._value.dtype
        total = self._value.repeat(len(orders), 1).to(
            torch.promote_types(dtype, torch.float64) if len(index) > MOST_NARROW else dtype
        )
        for some in torch.split(index[:-1], max(1, self.sets_at_once // len(orders))):
            values = []
            for units in some:
                total = total + contributions[units]
                values.append(total.to(dtype))
            yield self._behind(torch.cat(values))

    def _masked(self, sets: Bool[Tensor, "sets one_or_rows units"]) -> Tensor:
        spread = self.context.units.spread(sets.flatten(0, 1))
        mask = spread.reshape(*sets.shape[:2], *spread.shape[1:])
        return self._behind(torch.where(mask, self.fill, self.h))

    def _behind(self, values: Tensor) -> Tensor:
        values = values.reshape(-1, *(self.h.shape[1:] if self._affine is None else self._shape))
        with torch.no_grad():
            output = self.rest.tail(values, self.live)
        self.count(len(output), backward=False)
        return output
