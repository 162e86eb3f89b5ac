"""Models: what a client sees of an uploaded network, and the manifest that requests are checked against."""

from datetime import datetime
from typing import Any, ClassVar, Literal

from pydantic import Field, JsonValue

from unitrank_schemas.base import Digest, Json, Name, Schema
from unitrank_schemas.problems import JobProblem

ModelStatus = Literal["inspecting", "ready", "rejected"]
INSPECTION = "6"
"""Changes when the same archive would get another manifest, or be let in where it was not; models are then inspected again."""
ARCHITECTURES = "unitrank.architectures"
"""The group of entry points under which an operator installs architectures."""
Shape = list[int | None]
"""Sizes of the axes; `null` is the batch."""


class Port(Schema):
    """One input or output of the whole model."""

    name: str
    dtype: str = Field(examples=["float32"])
    shape: Shape = Field(examples=[[None, 1, 28, 28]])


class Seen(Schema):
    """A layer as one of the model's outputs sees it."""

    reached: bool = Field(description="What the layer gives has a way to this output.")
    cut: bool
    differentiable: bool
    input_cut: bool | None = None
    input_differentiable: bool | None = None


class Layer(Schema):
    """One place that a job may name: a call of a module, or a model input."""

    name: str = Field(examples=["conv1", "act@1"])
    kind: str = Field(description="The module's class, or `Input`.", examples=["Conv2d"])
    shape: list[int] = Field(description="Of the output, without the batch.")
    units: int
    channels: int
    channel_axis: int = Field(description="Axis of `shape` that counts the channels.")
    cut: bool = Field(
        description="Every way from input to output passes through the output of this layer; of several outputs to the first."
    )
    input_shape: list[int] | None = Field(None, description="Of what enters the layer; null where that is no place.")
    input_cut: bool | None = None
    input_channel_axis: int | None = None
    input_differentiable: bool | None = None
    differentiable: bool = Field(True, description="A gradient of the outputs comes back to the output of this layer.")
    seen_by: dict[str, Seen] | None = Field(None, description="By output, where the model has several.")
    forward_cost: float = Field(0.0, description="Share of the model's forward cost that lies before the output.")


class Manifest(Schema):
    """What the inspection of a model found."""

    inputs: list[Port]
    outputs: list[Port]
    parameters: int
    layers: list[Layer] = Field(description="In order of execution.")
    flops: int = Field(0, description="Floating-point operations of one example's forward pass.")
    differentiable: bool = True
    path: list[str] | None = Field(
        None,
        description="What moves between a baseline and an example: real inputs, and the embeddings that look up integer inputs.",
        examples=[["embeddings.word_embeddings"]],
    )
    looked_up: list[str] = Field([], description="Integer inputs that embeddings look up.")


class ModelFormat(Schema):
    """The base of every format of uploaded bytes; the fields are the options that a client gives beside the bytes.

    A format is one class here, one entry in `unitrank_service.contents.model_formats`, which reads the options from the query
    and looks at the bytes, and one in `unitrank_engine.models.formats`, which inspects them.
    """

    key: ClassVar[str]
    bytes_are: ClassVar[str]
    """The bytes, as the OpenAPI document describes the body of a PUT."""
    parameters: ClassVar[tuple[str, ...]] = ()
    """Names of the query parameters of a PUT that choose the format and give its options."""

    def recipe(self) -> Json | None:
        """The format and its options as the store keeps them beside the bytes; `format_of` reads them."""
        return {"format": self.key, **self.model_dump(mode="json")}

    def identity(self, blob: str) -> list[Any] | None:
        """What the model's digest covers; None where that is the digest `blob` of the bytes itself."""
        return [self.key, self.model_dump(mode="json"), blob]


class Archive(ModelFormat):
    """An archive of `torch.export`, which has everything inside."""

    key = "archive"
    bytes_are = "a `torch.export` archive (`.pt2`)"

    def recipe(self) -> Json | None:
        return None

    def identity(self, blob: str) -> list[Any] | None:
        return None


class Architecture(ModelFormat):
    """An architecture that the operator installed, and what it is built with."""

    key = "architecture"
    bytes_are = "a safetensors file with an architecture's weights"
    parameters = ("architecture", "arguments")

    name: str
    arguments: dict[str, JsonValue] = Field(default_factory=dict)

    def recipe(self) -> Json | None:
        # The first format with options: stores have its recipes without the key.
        return self.model_dump(mode="json")

    def identity(self, blob: str) -> list[Any] | None:
        return [self.name, self.arguments, blob]


MODEL_FORMATS: dict[str, type[ModelFormat]] = {kind.key: kind for kind in (Archive, Architecture)}


def format_of(recipe: Json | None) -> ModelFormat:
    """The format that a recipe of the store names."""
    if recipe is None:
        return Archive()
    kind = MODEL_FORMATS[recipe.get("format", Architecture.key)]
    return kind.model_validate({name: value for name, value in recipe.items() if name != "format"})


def options_by_format(format: ModelFormat) -> Json:
    """Fields of the model's resource: one for each format with options; only the field of the model's format is not null."""
    keys = [key for key, kind in MODEL_FORMATS.items() if kind.model_fields]
    return {key: format.model_dump(mode="json") if key == format.key else None for key in keys}


class Model(Schema):
    """A model; what the inspection found is null until it is ready, the digest of one that lies elsewhere until it was read."""

    name: Name
    digest: Digest | None
    bytes: int
    status: ModelStatus
    created_at: datetime
    inputs: list[Port] | None = None
    outputs: list[Port] | None = None
    parameters: int | None = None
    layers: list[Layer] | None = None
    flops: int | None = None
    differentiable: bool | None = None
    path: list[str] | None = None
    looked_up: list[str] | None = None
    architecture: Architecture | None = Field(None, description="Of a model that was uploaded as weights alone.")
    problem: JobProblem | None = None


class Location(Schema):
    """Content that lies elsewhere, where the operator has allowed the place."""

    uri: str = Field(examples=["s3://bucket/model.pt2"])
