"""The units of a place: single elements, or groups of elements that count as one unit."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal, get_args

from pydantic import Discriminator, Field, Tag

from unitrank_schemas.base import Schema

MOST_LABELS = 100_000
"""Labels of one request, at most."""
AXIS = "Axis of the place: 0 is the first axis after the batch; negative numbers count from the last axis."


class Groups(Schema):
    """An axis cut into equal consecutive groups, such as attention heads; each group is a unit."""

    axis: int = Field(description=AXIS, examples=[-1])
    groups: int = Field(ge=1, description="Number of groups; it divides the size of the axis.", examples=[12])


class Labels(Schema):
    """One label for each index of an axis; the indices of one label are a unit."""

    axis: int = Field(description=AXIS, examples=[0])
    labels: list[Annotated[int, Field(ge=0, lt=MOST_LABELS)]] = Field(
        min_length=1,
        max_length=MOST_LABELS,
        description="The unit of each index. With m units, each number from 0 to m − 1 occurs.",
        examples=[[0, 0, 1]],
    )


ACCEPTED = (
    "Input should be 'neuron', 'channel', 'position', or an object with an axis and either groups or labels, such as "
    '{"axis": -1, "groups": 12} or {"axis": 0, "labels": [0, 0, 1]}'
)


def _branch(value: Any) -> str | None:  # Any: a client's JSON value, or the value of the field
    if isinstance(value, Groups | Labels):
        return type(value).__name__
    if isinstance(value, dict):
        branches = [branch for field, branch in (("groups", "Groups"), ("labels", "Labels")) if field in value]
        return branches[0] if len(branches) == 1 else None
    return "Kind" if value in get_args(Kind) else None


Kind = Literal["neuron", "channel", "position"]
Units = Annotated[
    Annotated[Kind, Tag("Kind")] | Annotated[Groups, Tag("Groups")] | Annotated[Labels, Tag("Labels")],
    Discriminator(_branch, custom_error_type="units", custom_error_message=ACCEPTED),
]


def unit_shape(units: Units, shape: Sequence[int], channel_axis: int | None) -> list[int] | None:
    """The shape of a place's units; None where the place does not have such units.

    `shape`: that of the place, without the batch.
    `channel_axis`: the axis of the channels, if it is known.

    >>> unit_shape("position", [16, 7, 7], 0)
    [7, 7]
    >>> unit_shape(Groups(axis=-1, groups=4), [10, 64], 1)
    [4]
    """
    if units == "neuron":
        return list(shape)
    if isinstance(units, Groups | Labels):
        axis = axis_of(units, shape)
        if axis is None:
            return None
        if isinstance(units, Groups):
            return None if shape[axis] % units.groups else [units.groups]
        return [max(units.labels) + 1] if len(units.labels) == shape[axis] else None
    if channel_axis is None:
        return None
    if units == "channel":
        return [shape[channel_axis]]
    return [size for axis, size in enumerate(shape) if axis != channel_axis] or None


def axis_of(units: Groups | Labels, shape: Sequence[int]) -> int | None:
    """The axis of `units`, counted from the first one; None where the shape does not have it."""
    return units.axis % len(shape) if -len(shape) <= units.axis < len(shape) else None


def labels_of(units: Groups | Labels, shape: Sequence[int]) -> list[int]:
    """The unit of each index of the axis.

    >>> labels_of(Groups(axis=0, groups=2), [6])
    [0, 0, 0, 1, 1, 1]
    """
    if isinstance(units, Labels):
        return units.labels
    return [index // (shape[units.axis] // units.groups) for index in range(shape[units.axis])]


def units_in_words(units: Units) -> str:
    """The units as a plural noun.

    >>> units_in_words("channel"), units_in_words(Groups(axis=-1, groups=12))
    ('channels', '12 groups of axis -1')
    """
    if isinstance(units, Labels):
        return f"{max(units.labels) + 1} labels of axis {units.axis}"
    return f"{units.groups} groups of axis {units.axis}" if isinstance(units, Groups) else f"{units}s"
