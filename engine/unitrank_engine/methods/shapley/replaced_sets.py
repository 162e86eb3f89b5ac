"""The values with sets of units replaced, another set for each example.

Where affine operations follow the place, these are values at their end: the value at h plus the
contributions of the replaced units. Otherwise they are values of the place, with the units masked.
"""

from collections.abc import Iterator
from functools import cached_property

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from unitrank_engine.job.batch_size import rows_behind
from unitrank_engine.methods.batch import Batch
from unitrank_engine.methods.shapley.affine_units import AffineUnits
from unitrank_schemas.base import Fill

MOST_NARROW = 256
"""Units up to which contributions are added in the type of the value: the sum loses one digit."""


class ReplacedSets:
    """The examples of a batch, of which sets of units are replaced.

    `affine`: None where units are masked.
    `rows`: the batch's rows that are taken.
    """

    def __init__(self, batch: Batch, fill: Fill, affine: AffineUnits | None, rows: slice) -> None:
        ends = batch.ends
        self.context = batch.context
        self.h = ends.input.h[rows]
        fills = batch.fill(fill)
        self.fill = (fills[rows] if len(fills) > 1 else fills).expand_as(self.h)
        self.changes = self.context.units.reduce((self.h != self.fill).float()) > 0
        """Whether each unit differs from its fill, `[rows, units]`."""
        self._affine = affine
        whole = len(self.h) == len(ends.input.h)
        self.x = tuple(tensor[rows] for tensor in ends.x)
        if affine is not None:
            self.rest = affine.rest
            self.value, self.live = affine.rest.head(self.x)
        else:
            self.rest = self.context.split
            self.value, self.live = self.h, ends.live if whole else self.context.split.head(self.x)[1]

    @property
    def sets_at_once(self) -> int:
        """The number of sets of each example in one pass, at most."""
        return max(1, rows_behind(self.rest, self.context.device) // len(self.h)) if self.rest.repeatable else 1

    @cached_property
    def contributions(self) -> Float[Tensor, "units rows value"]:
        assert self._affine is not None
        return self._affine.contributions(self.fill - self.h, self.x)

    def of_sets(self, sets: Bool[Tensor, "sets one_or_rows units"]) -> Iterator[Float[Tensor, "copies *value"]]:
        """Yield the values with each set replaced: all examples once for each set."""
        for chosen in torch.split(sets, self.sets_at_once):
            if self._affine is None:
                yield self._masked(chosen)
            else:
                weights = chosen.expand(-1, len(self.h), -1).to(self.value.dtype)
                changes = torch.einsum("sru,urv->srv", weights, self.contributions)
                yield (self.value.flatten(1) + changes).reshape(-1, *self.value.shape[1:])

    def of_orders(self, orders: Int[Tensor, "orders rows units"]) -> Iterator[Float[Tensor, "copies *value"]]:
        """Yield values with the first 1, 2 … units of each order replaced, but not with all.

        Then follow the values with the other units replaced instead. Each half has all examples
        once for each order, at the first count, then at the next one. A value is valid until the
        next one is asked for.
        """
        yield from self._masked_orders(orders) if self._affine is None else self._summed_orders(orders)

    def _masked_orders(self, orders: Int[Tensor, "orders rows units"]) -> Iterator[Float[Tensor, "copies *value"]]:
        positions, counts = orders.argsort(-1), torch.arange(1, orders.shape[-1], device=orders.device)
        for some in torch.split(counts, self._counts_at_once(orders)):
            first = (positions < some[:, None, None, None]).flatten(0, 1)
            yield self._masked(torch.cat([first, ~first]))

    def _summed_orders(self, orders: Int[Tensor, "orders rows units"]) -> Iterator[Float[Tensor, "copies *value"]]:
        contributions, rows = self.contributions.flatten(0, 1), torch.arange(len(self.h), device=orders.device)
        index = (orders * len(rows) + rows[:, None]).permute(2, 0, 1).flatten(1)[:-1].contiguous()
        value, dtype, at_once = self.value.flatten(1), self.value.dtype, min(len(index), self._counts_at_once(orders))
        # Sums of many contributions keep their digits in float64, which takes twice the time.
        wide = dtype if len(index) < MOST_NARROW else torch.promote_types(dtype, torch.float64)
        sums = torch.empty(2, at_once, index.shape[1], value.shape[1], dtype=wide, device=value.device)
        added = torch.empty_like(sums[0, 0], dtype=dtype)
        total = value.to(wide).repeat(len(orders), 1)
        both = total + (value + self.contributions.sum(0, dtype=wide)).repeat(len(orders), 1)
        for some in torch.split(index, at_once):
            first, others = sums[:, : len(some)]
            for units, result in zip(some, first, strict=True):
                torch.index_select(contributions, 0, units, out=added)
                total = torch.add(total, added, out=result)
            torch.sub(both, first, out=others)
            yield sums[:, : len(some)].to(dtype).reshape(-1, *self.value.shape[1:])

    def _counts_at_once(self, orders: Int[Tensor, "orders rows units"]) -> int:
        return max(1, self.sets_at_once // (2 * len(orders)))

    def _masked(self, sets: Bool[Tensor, "sets one_or_rows units"]) -> Tensor:
        spread = self.context.units.spread(sets.flatten(0, 1))
        mask = spread.reshape(*sets.shape[:2], *spread.shape[1:])
        return torch.where(mask, self.fill, self.h).reshape(-1, *self.h.shape[1:])
