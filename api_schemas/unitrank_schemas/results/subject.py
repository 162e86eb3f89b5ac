"""The subject of a result: model, dataset, layer and clusters."""

from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from unitrank_schemas.base import Schema
from unitrank_schemas.facts.units import Units


class Content(Schema):
    """The exact model or dataset that the job used."""

    name: str | None = Field(description="Null for an inline dataset.")
    digest: str


UnitWord = Literal["position", "head", "group", "label"] | None


class UnitsOfLayer(Schema):
    """The units of one layer among the units of all layers together."""

    layer: str
    first: int = Field(description="Number of the layer's unit 0 among all units.")
    shape: list[int]
    unit_word: UnitWord = None


class RankedLayer(Schema):
    """The place whose units are ranked: the output or the input of a layer."""

    name: str = Field(description="Name of the layer; `joint` for the units of all layers together.")
    at: Literal["output", "input"]
    cut: bool = Field(description="Whether every path from the model's inputs to the explained output passes through the place.")
    units: Units
    shape: list[int] = Field(description="Shape of the units; unit numbers count in row-major order.")
    count: int = Field(description="Number of units.")
    unit_word: UnitWord = Field(
        None, description="The word before a unit's number in pictures and tables, such as `head 3`; null for neurons and channels."
    )
    channel_axis: int | None = Field(
        None,
        description="Axis of `shape` that counts the channels; null without such an axis. Results of older versions always have "
        "null; their channels are axis 0.",
    )
    parts: list[UnitsOfLayer] | None = Field(
        None, description="The layers whose units are numbered one after the other; null for the units of one layer."
    )


def unit_name(word: str | None, index: Sequence[int], unit: int) -> str:
    """The name of a unit: its word and its number, or its place where the units have several axes.

    `index`: the unit's place in the shape of the units.

    >>> unit_name("head", [3], 3), unit_name("position", [1, 2], 9), unit_name(None, [3, 0, 1], 13)
    ('head 3', 'position 1,2', '3,0,1')
    """
    number = ",".join(map(str, index)) if len(index) > 1 else str(unit)
    return f"{word} {number}" if word else number


def name_of_unit(layer: RankedLayer, unit: int) -> str:
    """The name of a unit by its number, such as `head 3`, `3,0,1` or `17`.

    Among the units of all layers together the name of the layer comes first: `relu1 · head 3`.
    """
    part = layer_of_unit(layer, unit)
    if part is None:
        return unit_name(layer.unit_word, _index(layer.shape, unit), unit)
    own = unit - part.first
    return f"{part.layer} · {unit_name(part.unit_word, _index(part.shape, own), own)}"


def layer_of_unit(layer: RankedLayer, unit: int) -> UnitsOfLayer | None:
    """The layer of a unit among those of all layers together; None for the units of one layer."""
    return next((each for each in reversed(layer.parts or []) if each.first <= unit), None)


def _index(shape: Sequence[int], unit: int) -> list[int]:
    """The place of a unit in row-major order."""
    index: list[int] = []
    for size in reversed(shape):
        unit, place = divmod(unit, size)
        index.insert(0, place)
    return index


def place_in_words(layer: RankedLayer) -> str:
    """The layer in sentences and titles."""
    return "all layers together" if layer.parts else f"layer {layer.name}"


def units_noun(layer: RankedLayer) -> str:
    """The plural noun for the units in sentences."""
    if layer.unit_word in (None, "label"):
        return "channels" if layer.units == "channel" else "units"
    return f"{layer.unit_word}s"


class Cluster(Schema):
    """A cluster, and the model's accuracy and score on its examples with no unit replaced."""

    name: str
    examples: int
    ranked_on: int = Field(description="Examples that make the ranking that is tested.")
    tested_on: int = Field(description="Examples that test it; 0 without ablation.")
    accuracy: float | None = Field(None, description="Share of examples that are classified as labelled; null without labels.")
    score: float | None = Field(None, description="Mean of the target F over the examples.")
