"""Units: the elements of a place, one by one or as whole channels."""

from dataclasses import dataclass
from math import prod

import numpy as np
from jaxtyping import Float, Shaped
from torch import Tensor

from unitrank_engine.program import Place
from unitrank_schemas.jobs import Units


@dataclass(frozen=True)
class PlaceUnits:
    """How the elements of a place are counted."""

    kind: Units
    place: Place

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the units: the place's own, or one axis of channels."""
        return self.place.shape if self.kind == "neuron" else (self.place.shape[self.place.channel_axis],)

    @property
    def channel_axis(self) -> int:
        """The axis of `shape` that counts the channels."""
        return self.place.channel_axis if self.kind == "neuron" else 0

    @property
    def count(self) -> int:
        return prod(self.shape)

    def reduce(self, scores: Float[Tensor, "rows *place"]) -> Float[Tensor, "rows units"]:
        """Scores of the units: a channel's are summed, signed, over the other axes."""
        if self.kind == "neuron":
            return scores.flatten(1)
        return scores.movedim(self.place.channel_axis + 1, 1).flatten(2).sum(2) if scores.dim() > 2 else scores

    def spread(self, mask: Shaped[Tensor, "masks units"]) -> Shaped[Tensor, "masks *place"]:
        """What is said of units, such as a mask, said of the place's elements, to be broadcast."""
        if self.kind == "neuron":
            return mask.reshape(len(mask), *self.place.shape)
        axes = [1] * len(self.place.shape)
        axes[self.place.channel_axis] = -1
        return mask.reshape(len(mask), *axes)

    def index(self, unit: int) -> list[int]:
        """Where a unit lies in `shape`."""
        return [int(position) for position in np.unravel_index(unit, self.shape)]
