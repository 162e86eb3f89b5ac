"""The subject of a result: model, dataset, layer and clusters."""

from typing import Literal

from pydantic import Field

from unitrank_schemas.base import Schema


class Content(Schema):
    """The exact model or dataset that the job used."""

    name: str | None = Field(description="Null for an inline dataset.")
    digest: str


class RankedLayer(Schema):
    """The place whose units are ranked: the output or the input of a layer."""

    name: str
    at: Literal["output", "input"]
    cut: bool = Field(description="Whether every path from the model's inputs to the explained output passes through the place.")
    units: Literal["neuron", "channel"]
    shape: list[int] = Field(description="Shape of the units; unit numbers count in row-major order.")
    count: int = Field(description="Number of units.")
    channel_axis: int | None = Field(
        None,
        description="Axis of `shape` that counts the channels; null without such an axis. Results of older versions always have "
        "null; their channels are axis 0.",
    )


class Cluster(Schema):
    """A cluster, and the model's accuracy and score on its examples with no unit replaced."""

    name: str
    examples: int
    ranked_on: int = Field(description="Examples that make the ranking that is tested.")
    tested_on: int = Field(description="Examples that test it; 0 without ablation.")
    accuracy: float | None = Field(None, description="Share of examples that are classified as labelled; null without labels.")
    score: float | None = Field(None, description="Mean of the target F over the examples.")
