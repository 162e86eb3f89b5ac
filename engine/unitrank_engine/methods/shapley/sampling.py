"""Shapley values from random orders of the units, in pairs of an order and its reverse.

An order replaces the units one after the other. Each unit gets the drop of F at its turn, so the
drops of an order sum to F(h) − F(h with all units replaced). The estimate of a unit is the mean
over pairs of the pair's mean drop, and its variance follows from the spread of the pairs.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from unitrank_engine.attribution.statistics import ROUNDING
from unitrank_engine.job.random_streams import RandomStreams


class PermutationStream:
    """The random orders of some examples. An order depends on the seed and the example alone.

    `rows`: the examples' numbers in the dataset.
    """

    def __init__(self, streams: RandomStreams, rows: np.ndarray, units: int, device: torch.device) -> None:
        self._generators = [streams.generator("shapley", int(row)) for row in rows]
        self._units = units
        self._device = device

    def next_orders(self, count: int) -> Int[Tensor, "orders rows units"]:
        """Return the next orders."""
        units = np.broadcast_to(np.arange(self._units), (count, self._units))
        drawn = [each.permuted(units, axis=1) for each in self._generators]
        return torch.from_numpy(np.stack(drawn, 1)).to(self._device)


def equal_parts(count: int, most: int) -> list[int]:
    """Return the sizes of the fewest parts of at most this size, which differ by at most 1.

    >>> equal_parts(10, 4)
    [4, 3, 3]
    """
    parts = -(-count // most)
    return [count // parts + (number < count % parts) for number in range(parts)]


def drops(
    f: Float[Tensor, "counts orders rows"], orders: Int[Tensor, "orders rows units"], changes: Bool[Tensor, "rows units"]
) -> Float[Tensor, "orders rows units"]:
    """Return the drop of F at each unit's turn.

    `f`: F with the first 0, 1 … units of each order replaced, at last with all units.
    `changes`: whether each unit differs from its fill. Units that do not differ get exactly 0.
    """
    changing = changes.expand(len(orders), -1, -1).gather(-1, orders)
    replaced = changing.cumsum(-1)
    last = (changing * torch.arange(1, changing.shape[-1] + 1, device=f.device)).cummax(-1).values
    # After the last unit that changes something, F is that with all units replaced.
    last = torch.where((replaced == replaced[..., -1:]) & (replaced > 0), f.shape[0] - 1, last)
    f = f.movedim(0, -1)
    after = f.gather(-1, last)
    before = torch.cat([f[..., :1], after[..., :-1]], -1)
    return torch.empty_like(after).scatter_(-1, orders, before - after)


@dataclass
class PairMeans:
    """Sums over the pairs of some examples."""

    pairs: int
    total: Float[Tensor, "rows units"]
    """Σ of the pairs' means."""
    squares: Float[Tensor, "rows units"]
    """Σ of the squares of the pairs' means."""

    @classmethod
    def empty(cls, changes: Bool[Tensor, "rows units"]) -> "PairMeans":
        """Return sums of no pairs."""
        return cls(0, *torch.zeros(2, *changes.shape, dtype=torch.float64, device=changes.device))

    def add(self, means: Float[Tensor, "pairs rows units"]) -> None:
        """Add the mean drops of some pairs."""
        self.pairs += len(means)
        self.total += means.sum(0)
        self.squares += means.square().sum(0)

    @property
    def estimate(self) -> Float[Tensor, "rows units"]:
        """The mean over pairs."""
        return self.total / self.pairs

    @property
    def variance(self) -> Float[Tensor, "rows units"]:
        """The variance of the estimate; NaN for one pair."""
        difference = self.squares - self.total**2 / self.pairs
        # A difference of two sums that is below their rounding counts as zero.
        kept = torch.where(difference > ROUNDING * self.squares, difference, 0.0)
        divisor = self.pairs * (self.pairs - 1)
        return kept / divisor if divisor else torch.full_like(kept, torch.nan)
