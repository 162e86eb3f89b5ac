"""The units of several layers, numbered one layer after the other."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from unitrank_engine.job.units import PlaceUnits


@dataclass(frozen=True)
class JointUnits(PlaceUnits):
    """The units of several places, whose elements are in one axis.

    `kind`: which elements of a place are a unit, as in the request.
    `place`: has the elements of all places in one axis, see `JointSplit`.
    `parts`: the units of each place.

    >>> from torch import fx, ones
    >>> from unitrank_engine.program import Place
    >>> node = fx.Graph().placeholder("h")
    >>> places = [Place(name, "output", "Conv2d", node, shape, 0, 0) for name, shape in (("a", (2, 3)), ("b", (3, 2)))]
    >>> joint = Place("joint", "output", "", node, (12,), 0, None)
    >>> units = JointUnits("channel", joint, parts=[PlaceUnits("channel", place) for place in places])
    >>> units.count, units.firsts, units.reduce(ones(1, 12))
    (5, [0, 2], tensor([[3., 3., 2., 2., 2.]]))
    """

    parts: Sequence[PlaceUnits] = ()

    @cached_property
    def shape(self) -> tuple[int, ...]:
        return (sum(part.count for part in self.parts),)

    @property
    def channel_axis(self) -> int | None:
        return None

    @property
    def single(self) -> bool:
        return False

    @cached_property
    def size(self) -> int | None:
        return None

    @property
    def firsts(self) -> list[int]:
        """The number of each part's first unit."""
        counts = [part.count for part in self.parts]
        return [sum(counts[:index]) for index in range(len(counts))]

    def reduce(self, scores: Float[Tensor, "rows elements"]) -> Float[Tensor, "rows units"]:
        pieces = torch.split_with_sizes(scores, [part.place.units for part in self.parts], dim=1)
        reduced = [part.reduce(piece.reshape(-1, *part.place.shape)) for part, piece in zip(self.parts, pieces, strict=True)]
        return torch.cat(reduced, dim=1)

    def spread(self, mask: Shaped[Tensor, "masks units"]) -> Shaped[Tensor, "masks elements"]:
        pieces = torch.split_with_sizes(mask, [part.count for part in self.parts], dim=1)
        spread = [
            part.spread(piece).expand(len(mask), *part.place.shape).flatten(1)
            for part, piece in zip(self.parts, pieces, strict=True)
        ]
        return torch.cat(spread, dim=1)
