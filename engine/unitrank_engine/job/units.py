"""Units: the elements of a place, as single neurons or as whole channels."""

from dataclasses import dataclass
from math import prod

from jaxtyping import Float, Shaped
from torch import Tensor

from unitrank_engine.program import Place
from unitrank_schemas.jobs import Units


@dataclass(frozen=True)
class PlaceUnits:
    """The units of a place.

    `kind`: `neuron` for single elements, `channel` for whole channels.

    >>> from torch import fx, ones
    >>> shape = (2, 5, 5)
    >>> place = Place("conv", "output", "Conv2d", fx.Graph().placeholder("h"), shape, 0, 0)
    >>> PlaceUnits("neuron", place).count, PlaceUnits("channel", place).count
    (50, 2)
    >>> PlaceUnits("channel", place).reduce(ones(1, *shape))
    tensor([[25., 25.]])
    """

    kind: Units
    place: Place

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the units: that of the place, or one axis of channels."""
        return self.place.shape if self.kind == "neuron" else (self.place.shape[self._axis],)

    @property
    def _axis(self) -> int:
        # The checks of a request refuse channels at a place without an axis for them.
        assert self.place.channel_axis is not None
        return self.place.channel_axis

    @property
    def channel_axis(self) -> int | None:
        """The axis of `shape` that counts the channels; None where it is not known."""
        return self.place.channel_axis if self.kind == "neuron" else 0

    @property
    def count(self) -> int:
        """The number of units."""
        return prod(self.shape)

    def reduce(self, scores: Float[Tensor, "rows *place"]) -> Float[Tensor, "rows units"]:
        """The scores of the units.

        A channel's score is the signed sum of the scores of its elements.
        """
        if self.kind == "neuron":
            return scores.flatten(1)
        return scores.movedim(self._axis + 1, 1).flatten(2).sum(2) if scores.dim() > 2 else scores

    def spread(self, mask: Shaped[Tensor, "masks units"]) -> Shaped[Tensor, "masks *place"]:
        """Values of units, such as a mask, in a shape that broadcasts to the place's elements."""
        if self.kind == "neuron":
            return mask.reshape(len(mask), *self.place.shape)
        axes = [1] * len(self.place.shape)
        axes[self._axis] = -1
        return mask.reshape(len(mask), *axes)
