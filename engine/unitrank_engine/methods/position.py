"""A position on each example's path, exact at any distance from either end."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

SMALLEST = 1e-30
"""Smallest distance from an end of the path, as a share of its length.

A smaller share of an input could be zero in float32.
"""


@dataclass(frozen=True)
class Position:
    """α of each example, as the distance from x′ and the distance from x, in float64.

    1 − 1e-20 is 1 in float64, so α alone could not come closer than 1e-16 to x.

    >>> start, end = Position.at(0.0, 1, "cpu"), Position.at(1.0, 1, "cpu")
    >>> start.middle(end).from_start
    tensor([0.5000], dtype=torch.float64)
    """

    from_start: Float[Tensor, "*rows"]
    """α."""
    from_end: Float[Tensor, "*rows"]
    """1 − α."""

    @classmethod
    def at(cls, alpha: float, rows: int, device: torch.device | str) -> "Position":
        """Return the position with the same α for all examples."""
        column = torch.full((rows,), alpha, dtype=torch.float64, device=device)
        return cls(column, 1 - column)

    def __sub__(self, other: "Position") -> Float[Tensor, "*rows"]:
        """Return the difference of α."""
        return torch.where(self.from_start <= 0.5, self.from_start - other.from_start, other.from_end - self.from_end)

    def order(self) -> Float[Tensor, "*rows"]:
        """Return a number that is larger where α is larger, also within 1e-20 of an end."""
        return torch.where(self.from_start <= 0.5, self.from_start.log(), -self.from_end.log())

    def middle(self, right: "Position") -> "Position":
        """Return the position that halves the interval from here to `right`.

        An interval around ½ is cut at ½. In each half of the path, the distance from the end of
        the half is halved on a logarithmic scale where the interval spans a factor above 4. So few
        halvings lead to any distance, down to SMALLEST.
        """
        near_start, near_end = right.from_start <= 0.5, self.from_start >= 0.5
        start, end = _middle(self.from_start, right.from_start), _middle(right.from_end, self.from_end)
        half = torch.full_like(start, 0.5)
        return Position(
            torch.where(near_start, start, torch.where(near_end, 1 - end, half)),
            torch.where(near_start, 1 - start, torch.where(near_end, end, half)),
        )

    def can_be_halved(self, right: "Position", rounding: float) -> Bool[Tensor, "*rows"]:
        """Return where the interval from here to `right` has distinct points inside.

        `rounding`: relative distance of neighbouring numbers in the model's inputs.
        """
        near_start = right.from_start <= 0.5
        low = torch.where(near_start, self.from_start, right.from_end)
        high = torch.where(near_start, right.from_start, self.from_end)
        return ((high - low) > 4 * rounding * high) & (high > 2 * SMALLEST)

    def between(self, start: Tensor, end: Tensor, axis: int) -> Tensor:
        """Return start + α · (end − start). `axis`: the axis of the examples."""
        shape = [-1 if each == axis else 1 for each in range(end.dim())]
        near_start = (self.from_start <= 0.5).reshape(shape)
        from_start, from_end = (column.to(end.dtype).reshape(shape) for column in (self.from_start, self.from_end))
        change = end - start
        return torch.where(near_start, start + from_start * change, end - from_end * change)


def _middle(low: Tensor, high: Tensor) -> Tensor:
    """Return a distance between two distances from the same end."""
    from_the_end = torch.clamp(high**2 / 2, min=SMALLEST)
    return torch.where(low == 0, from_the_end, torch.where(high > 4 * low, (low * high).sqrt(), (low + high) / 2))
