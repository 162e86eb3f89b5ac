"""Units: the elements of a place, one by one or in groups that count as one unit."""

from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Any

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from unitrank_engine.program import Place
from unitrank_schemas.jobs import Units, axis_of, labels_of, unit_shape


@dataclass(frozen=True)
class PlaceUnits:
    """The units of a place.

    `kind`: which elements are a unit, as in the request.

    >>> from torch import fx, ones
    >>> shape = (2, 5, 5)
    >>> place = Place("conv", "output", "Conv2d", fx.Graph().placeholder("h"), shape, 0, 0)
    >>> [PlaceUnits(kind, place).count for kind in ("neuron", "channel", "position")]
    [50, 2, 25]
    >>> PlaceUnits("channel", place).reduce(ones(1, *shape))
    tensor([[25., 25.]])
    >>> from unitrank_schemas.jobs import Labels
    >>> PlaceUnits(Labels(axis=1, labels=[0, 1, 1, 0, 0]), place).reduce(ones(1, *shape))
    tensor([[30., 20.]])
    """

    kind: Units
    place: Place

    @cached_property
    def shape(self) -> tuple[int, ...]:
        """The shape of the units: that of the place, its positions, or one axis of groups."""
        shape = unit_shape(self.kind, self.place.shape, self.place.channel_axis)
        assert shape is not None  # The checks of a request refuse units that the place does not have.
        return tuple(shape)

    @property
    def channel_axis(self) -> int | None:
        """The axis of `shape` that counts the channels; None where it is not known."""
        return {"neuron": self.place.channel_axis, "channel": 0}.get(self.kind) if isinstance(self.kind, str) else None

    @property
    def count(self) -> int:
        """The number of units."""
        return prod(self.shape)

    @property
    def single(self) -> bool:
        """Whether each element is a unit."""
        return self.kind == "neuron"

    @cached_property
    def description(self) -> Any:  # Any: a JSON value
        """The units as a JSON value, which is equal for equal groups of an axis."""
        if isinstance(self.kind, str):
            return self.kind
        return {"axis": axis_of(self.kind, self.place.shape), "labels": labels_of(self.kind, self.place.shape)}

    @cached_property
    def size(self) -> int | None:
        """The number of elements of each unit; None where units differ in it."""
        equal = self.single or self.kind == "position" or len(self._by_size) == 1
        return self.place.units // self.count if equal else None

    def reduce(self, scores: Float[Tensor, "rows *place"]) -> Float[Tensor, "rows units"]:
        """The scores of the units: the signed sums of the scores of their elements."""
        if self.single:
            return scores.flatten(1)
        if self.size is not None:
            return self._elements(scores).sum(2)
        sums = scores.new_empty(len(scores), self.count)
        for units, indices in self._by_size:
            sums[:, units] = self._grouped(scores, len(units), indices).sum(2)
        return sums

    def spread(self, mask: Shaped[Tensor, "masks units"]) -> Shaped[Tensor, "masks *place"]:
        """Values of units, such as a mask, in a shape that broadcasts to the place's elements."""
        if self.single:
            return mask.reshape(len(mask), *self.place.shape)
        if self.kind == "position":
            return mask.reshape(len(mask), *self.shape).unsqueeze(self._axis + 1)
        axes = [1] * len(self.place.shape)
        axes[self._axis] = -1
        of_axis = mask if self.kind == "channel" else mask[:, self._labels.to(mask.device)]
        return of_axis.reshape(len(mask), *axes)

    @cached_property
    def members(self) -> Int[Tensor, "units elements"]:
        """The numbers of each unit's elements in the place. All units have one `size`."""
        return self._elements(torch.arange(self.place.units).reshape(1, *self.place.shape))[0]

    def _elements(self, values: Shaped[Tensor, "rows *place"]) -> Shaped[Tensor, "rows units elements"]:
        """The values with the elements of each unit together. All units have one `size`."""
        if self.single:
            return values.reshape(len(values), self.count, 1)
        if self.kind == "position":
            return values.movedim(self._axis + 1, -1).reshape(len(values), self.count, -1)
        ((units, indices),) = self._by_size
        return self._grouped(values, len(units), indices)

    def _grouped(
        self, values: Shaped[Tensor, "rows *place"], count: int, indices: list[int]
    ) -> Shaped[Tensor, "rows chosen elements"]:
        """The values of some units of one size.

        `indices`: the indices of the axis that the units have, in the units' order.
        """
        axis = self._axis + 1
        if indices != list(range(values.shape[axis])):
            values = values.index_select(axis, torch.tensor(indices, device=values.device))
        # The order of the sum is that of a channel's sum in a model whose axis is cut into two, and
        # does not depend on the memory layout of the values.
        parts = values.reshape(*values.shape[:axis], count, -1, *values.shape[axis + 1 :])
        return parts.movedim(axis, 1).flatten(2).contiguous()

    @property
    def _axis(self) -> int:
        """The axis that the units group; for channels and positions the axis of the channels."""
        axis = self.place.channel_axis if isinstance(self.kind, str) else axis_of(self.kind, self.place.shape)
        assert axis is not None
        return axis

    @cached_property
    def _labels(self) -> Int[Tensor, " indices"]:
        """The unit of each index of the axis."""
        if isinstance(self.kind, str):
            return torch.arange(self.place.shape[self._axis])
        return torch.tensor(labels_of(self.kind, self.place.shape))

    @cached_property
    def _by_size(self) -> list[tuple[list[int], list[int]]]:
        """The units of each size, and their indices of the axis, in the order of the units."""
        indices: dict[int, list[int]] = defaultdict(list)
        for index, label in enumerate(self._labels.tolist()):
            indices[label].append(index)
        by_size: dict[int, tuple[list[int], list[int]]] = defaultdict(lambda: ([], []))
        for label in sorted(indices):
            units, of_units = by_size[len(indices[label])]
            units.append(label)
            of_units += indices[label]
        return list(by_size.values())
