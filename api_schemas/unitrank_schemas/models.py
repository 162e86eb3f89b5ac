"""Models: the resource of an uploaded network, and the manifest that the checks use."""

from datetime import datetime
from typing import Any, ClassVar, Literal

from pydantic import Field, JsonValue

from unitrank_schemas.base import Digest, Json, Name, Schema
from unitrank_schemas.facts.units import Groups
from unitrank_schemas.problems import JobProblem

ModelStatus = Literal["inspecting", "ready", "rejected"]
INSPECTION = "10"
"""Version of the inspection; with a new one all models are inspected again.

Change it if archives get another manifest, or if archives that were rejected are accepted now.
"""
ARCHITECTURES = "unitrank.architectures"
"""The group of entry points of installed architectures."""
Shape = list[int | None]
"""Sizes of the axes; null is the batch."""


FLOPS = "Floating-point operations of one example's forward pass."
DIFFERENTIABLE = "Whether a gradient of an output reaches any layer."
PATH = (
    "Values that change between a baseline and an example: real inputs, and embeddings of integer inputs. A baseline's `hold` and "
    "`inputs` take these names and the names of inputs."
)
PATH_INPUTS = "Value of `path` → the inputs of the model that it is computed from."
GRADIENTS = (
    "`checked`: the export compared the gradients with those of the module in eager PyTorch. `unknown`: an archive of "
    "`torch.export` cannot show hooks, backward methods of autograd functions, or regions that were decomposed."
)
NOTES = "Sentences about the inspection, such as the values that it could not choose."
LOOKED_UP = "Integer inputs that embeddings look up."


class Port(Schema):
    """One input or output of the model."""

    name: str
    dtype: str = Field(examples=["float32"])
    shape: Shape = Field(examples=[[None, 1, 28, 28]])


class OutputPort(Port):
    """One output of the model."""

    class_axis: int | None = Field(
        None, description="Axis of `shape` that counts the classes; null if the output has one value or if the axis is not known."
    )


class Seen(Schema):
    """The properties of a layer for one of several outputs of the model."""

    reached: bool = Field(description="Whether the output is computed from the layer.")
    cut: bool
    differentiable: bool
    input_cut: bool | None = None
    input_differentiable: bool | None = None


class Layer(Schema):
    """A layer that a job can name: one call of a module, or an input of the model."""

    name: str = Field(examples=["conv1", "act@1"])
    kind: str = Field(description="The module's class, or `Input`.", examples=["Conv2d"])
    shape: list[int] = Field(description="Shape of the layer's output, without the batch.")
    units: int = Field(description="Number of elements of the layer's output.")
    channels: int | None = Field(description="Number of channels of the layer's output; null if `channel_axis` is null.")
    channel_axis: int | None = Field(
        description="Axis of `shape` that counts the channels; null if the graph does not show which axis it is."
    )
    cut: bool = Field(
        description="Whether every path from the model's inputs to its first output passes through the layer's output."
    )
    input_shape: list[int] | None = Field(
        None, description="Shape of the layer's input, without the batch; null if the input cannot be ranked."
    )
    input_cut: bool | None = Field(None, description="As `cut`, for the layer's input.")
    input_channel_axis: int | None = Field(None, description="As `channel_axis`, for the layer's input.")
    input_differentiable: bool | None = Field(None, description="As `differentiable`, for the layer's input.")
    differentiable: bool = Field(True, description="Whether a gradient of an output reaches the layer's output.")
    seen_by: dict[str, Seen] | None = Field(
        None, description="Output of the model → the layer's properties for it; null for a model with one output."
    )
    linear_next: bool | None = Field(
        None, description="Whether a linear operation with weights follows the layer's output; null from older versions."
    )
    input_linear_next: bool | None = Field(None, description="As `linear_next`, for the layer's input.")
    after: list[str] | None = Field(
        None, description="The layers whose values reach this layer without passing another one; null from older versions."
    )
    heads: int | None = Field(
        None,
        description="Number of attention heads, where the graph shows it or the module names it; otherwise null.",
        examples=[12],
    )
    heads_at: list[Literal["output", "input"]] = Field(
        [],
        description="Sides of the layer whose channels are the heads one after another. There `units` with the channel axis and "
        "with `groups` equal to `heads` ranks the heads. Empty where only the module names the number: its output may mix heads.",
    )
    forward_cost: float = Field(0.0, description="Share of the model's operations up to the layer's output, from 0 to 1.")

    def head_units(self, side: str) -> Groups | None:
        """The heads as units of this side; None where its channels are not the heads."""
        axis = self.channel_axis if side == "output" else self.input_channel_axis
        return None if self.heads is None or axis is None or side not in self.heads_at else Groups(axis=axis, groups=self.heads)

    @property
    def heads_in_words(self) -> str:
        """The heads and their sides, such as `12 heads at the input`; empty without heads."""
        return f"{self.heads} heads" + (f" at the {' and the '.join(self.heads_at)}" if self.heads_at else "") if self.heads else ""


class Manifest(Schema):
    """The results of a model's inspection."""

    inputs: list[Port]
    outputs: list[OutputPort]
    parameters: int = Field(description="Number of parameters.")
    layers: list[Layer] = Field(description="In order of execution.")
    flops: int = Field(0, description=FLOPS)
    differentiable: bool = Field(True, description=DIFFERENTIABLE)
    path: list[str] | None = Field(None, description=PATH, examples=[["embeddings.word_embeddings"]])
    path_inputs: dict[str, list[str]] | None = Field(None, description=PATH_INPUTS)
    looked_up: list[str] = Field([], description=LOOKED_UP)
    gradients: Literal["checked", "unknown"] = Field("unknown", description=GRADIENTS)
    notes: list[str] = Field([], description=NOTES)


class ModelFormat(Schema):
    """The base of all formats of uploaded models. The fields are the options that a client sends.

    A format is one class here and two table entries. `unitrank_service.contents.model_formats`
    reads the options from the query and checks the bytes. `unitrank_engine.models.formats` inspects
    the bytes.
    """

    key: ClassVar[str]
    bytes_are: ClassVar[str]
    """Description of the bytes in the OpenAPI document."""
    parameters: ClassVar[tuple[str, ...]] = ()
    """Query parameters of a PUT that choose the format and set its options."""

    def recipe(self) -> Json | None:
        """The format and its options as the store keeps them; None for an archive."""
        return {"format": self.key, **self.model_dump(mode="json")}

    def identity(self, blob: str) -> list[Any] | None:
        """The value that the model's digest is computed from.

        None if the digest is `blob`, the digest of the bytes.
        """
        return [self.key, self.model_dump(mode="json"), blob]


class Archive(ModelFormat):
    """A `torch.export` archive, which holds the network and its weights."""

    key = "archive"
    bytes_are = "a `torch.export` archive (`.pt2`)"

    def recipe(self) -> Json | None:
        return None

    def identity(self, blob: str) -> list[Any] | None:
        return None


class Architecture(ModelFormat):
    """An installed architecture, and the arguments that it is built with."""

    key = "architecture"
    bytes_are = "a safetensors file with an architecture's weights"
    parameters = ("architecture", "arguments")

    name: str
    arguments: dict[str, JsonValue] = Field(default_factory=dict)

    def recipe(self) -> Json | None:
        # This was the first format with options: stores hold its recipes without the key `format`.
        return self.model_dump(mode="json")

    def identity(self, blob: str) -> list[Any] | None:
        return [self.name, self.arguments, blob]


MODEL_FORMATS: dict[str, type[ModelFormat]] = {kind.key: kind for kind in (Archive, Architecture)}


def format_of(recipe: Json | None) -> ModelFormat:
    """The format and options of a recipe from the store."""
    if recipe is None:
        return Archive()
    kind = MODEL_FORMATS[recipe.get("format", Architecture.key)]
    return kind.model_validate({name: value for name, value in recipe.items() if name != "format"})


def options_by_format(format: ModelFormat) -> Json:
    """Fields of a model's resource: for each format with options its options, or null."""
    keys = [key for key, kind in MODEL_FORMATS.items() if kind.model_fields]
    return {key: format.model_dump(mode="json") if key == format.key else None for key in keys}


class Model(Schema):
    """A model. The fields from the inspection are null until it is ready."""

    name: Name
    digest: Digest | None = Field(description="Null for a model that was given by URI, until it has been read.")
    bytes: int
    status: ModelStatus
    created_at: datetime
    inputs: list[Port] | None = None
    outputs: list[OutputPort] | None = None
    parameters: int | None = None
    layers: list[Layer] | None = None
    flops: int | None = Field(None, description=FLOPS)
    differentiable: bool | None = Field(None, description=DIFFERENTIABLE)
    path: list[str] | None = Field(None, description=PATH)
    path_inputs: dict[str, list[str]] | None = Field(None, description=PATH_INPUTS)
    looked_up: list[str] | None = Field(None, description=LOOKED_UP)
    gradients: Literal["checked", "unknown"] | None = Field(None, description=GRADIENTS)
    notes: list[str] | None = Field(None, description=NOTES)
    architecture: Architecture | None = Field(None, description="Set for a model that was uploaded as weights.")
    problem: JobProblem | None = None


class Location(Schema):
    """A URI from which the service reads the content, if the operator allows the location."""

    uri: str = Field(examples=["s3://bucket/model.pt2"])
