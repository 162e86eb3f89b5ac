"""Runs the passes with all sets of units, or with random orders of the units replaced."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from unitrank_engine.methods.batch import Count
from unitrank_engine.methods.shapley.enumeration import all_sets, shapley_values
from unitrank_engine.methods.shapley.replaced_sets import ReplacedSets
from unitrank_engine.methods.shapley.sampling import PairMeans, PermutationStream, drops, equal_parts
from unitrank_engine.methods.shapley.set_targets import SetTargets

MOST_POSITIONS = 2**22
"""Positions of units in the orders that are replaced together, at most, unless a pair has more."""


@dataclass(frozen=True)
class SetPasses:
    """The passes of some examples.

    `intact`: F of each target without a replaced unit.
    `count`: called after every pass with its rows.
    """

    sets: ReplacedSets
    targets: SetTargets
    intact: Float[Tensor, "targets 1 rows"]
    count: Count

    def enumerated(self) -> list[Float[Tensor, "rows units"]]:
        """Return the exact values of each target."""
        changes = self.sets.changes
        others = all_sets(changes.shape[1], changes.device)[1:, None]
        f = torch.cat([self.intact, self._f(self.sets.of_sets(others))], 1)
        return [shapley_values(of_target, changes) for of_target in f]

    def sampled(self, stream: PermutationStream, pairs: int) -> list[PairMeans]:
        """Return the sums over pairs of an order and its reverse, for each target."""
        changes = self.sets.changes
        every = torch.ones(1, 1, changes.shape[1], dtype=torch.bool, device=changes.device)
        ends = torch.cat([self.intact, self._f(self.sets.of_sets(every))], 1)
        # An order replaces its first units. Its reverse replaces the other units before them.
        whole = (ends[:, :1] - ends[:, 1:]) / 2
        means = [PairMeans.empty(changes) for _ in self.intact]
        at_once = max(1, min(self.sets.sets_at_once, MOST_POSITIONS // changes.numel()) // 2)
        for orders in map(stream.next_orders, equal_parts(pairs, at_once)):
            between = self._half_differences(orders)
            for its_means, end, its_f in zip(means, whole, between, strict=True):
                end = end.expand(1, len(orders), -1)
                f = torch.cat([end, its_f.reshape(-1, *orders.shape[:2]), -end])
                its_means.add(drops(f, orders, changes))
        return means

    def _half_differences(self, orders: Int[Tensor, "orders rows units"]) -> Float[Tensor, "targets sets rows"]:
        """Return half of F with the first units of each order replaced, minus F with the others."""
        pieces = [f.reshape(len(f), 2, -1) for f in self._without_offset(self.sets.of_orders(orders))]
        first, others = torch.cat(pieces, 2).double().unbind(1)
        return ((first - others) / 2).reshape(len(first), -1, len(self.sets.h))

    def _f(self, values: Iterable[Float[Tensor, "copies *value"]]) -> Float[Tensor, "targets sets rows"]:
        f = torch.cat(list(self._without_offset(values)), 1).double()
        return f.reshape(len(f), -1, len(self.sets.h)) + self.targets.offsets

    def _without_offset(self, values: Iterable[Float[Tensor, "copies *value"]]) -> Iterator[Float[Tensor, "targets copies"]]:
        for each in values:
            yield self.targets.without_offset(each)
            self.count(len(each), backward=False)
