"""Facts about a model and a dataset, the sizes of a request with them, and a request's flaws."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import TYPE_CHECKING, Literal

from unitrank_schemas.datasets import FieldInfo
from unitrank_schemas.facts.units import unit_shape
from unitrank_schemas.models import Layer, Manifest, OutputPort, Seen

if TYPE_CHECKING:
    from unitrank_schemas.jobs import JobRequest

MOST_CLUSTERS = 10_000

Value = str | int | float | bool
Distinct = Callable[[str], list[Value] | None]
"""Field with one axis → at most 10 001 distinct values; None where reading them costs too much."""


@dataclass(frozen=True)
class Flaw:
    """One wrong place of a request.

    `pointer`: JSON Pointer to the place; `code`: the stable code of the problem; `detail`: the
    message for people.
    """

    pointer: str
    code: str
    detail: str


class RequestRejected(Exception):
    """Raised for a request that cannot run. `flaws`: the wrong places, at most 100."""

    def __init__(self, flaws: list[Flaw]) -> None:
        super().__init__("; ".join(flaw.detail for flaw in flaws))
        self.flaws = flaws


@dataclass(frozen=True)
class TableFacts:
    """A dataset that an entry of `methods` reads beside the job's dataset."""

    fields: dict[str, FieldInfo]
    examples: int
    distinct: Distinct


@dataclass(frozen=True)
class Facts:
    """The model and the dataset that a request is checked against.

    `manifest`: None while the model is not ready. `fields`: None while the dataset is not ready.
    `examples`: rows of the dataset. `max_result_bytes`: limit for the arrays, and for the summary.
    """

    manifest: Manifest | None
    fields: dict[str, FieldInfo] | None
    examples: int
    distinct: Distinct
    max_result_bytes: int
    tables: Mapping[str, TableFacts] = field(default_factory=dict)
    """Reference of a further dataset → its facts, for the datasets that are ready."""
    max_shapley_operations: float = math.inf
    """Limit of the floating-point operations of one ranking by Shapley values."""
    values: Callable[[str], Sequence[Value] | None] = lambda field: None
    """Field with one axis → its value in each row; None where the table is not at hand."""
    true_rows: Callable[[str], int | None] = lambda field: None
    """Boolean field with one axis → the number of rows in which it is true; None as `distinct`."""


@dataclass(frozen=True)
class RankedPlace:
    """The side of a layer whose units are ranked.

    `shape`: without the batch. `channel_axis`: axis of `shape` that counts the channels; None
    without channels. `cut`: whether every path from the model's inputs to the explained output
    passes through the place. `differentiable`: whether a gradient of the output reaches the place.
    """

    shape: list[int]
    channel_axis: int | None
    cut: bool
    differentiable: bool
    reached: bool = True
    """Whether the explained output is computed from the place."""


def layer_of(request: "JobRequest", manifest: Manifest) -> Layer | None:
    """The layer that the request names; None if the model does not have it."""
    return layer_named(request.one_layer, manifest)


def layer_named(name: str, manifest: Manifest) -> Layer | None:
    """The layer with this name; None if the model has none."""
    return next((layer for layer in manifest.layers if layer.name == name), None)


def place_of(request: "JobRequest", layer: Layer) -> RankedPlace | None:
    """The layer's output or input, as the request's `at` says.

    None for an input that cannot be ranked. `cut`, `differentiable` and `reached` hold for the
    explained output.
    """
    properties = (layer.seen_by or {}).get(request.output or "") or layer
    reached = not isinstance(properties, Seen) or properties.reached
    if request.at == "output":
        return RankedPlace(layer.shape, layer.channel_axis, properties.cut, properties.differentiable, reached)
    if layer.input_shape is None:
        return None
    differentiable = properties.input_differentiable is not False
    return RankedPlace(layer.input_shape, layer.input_channel_axis, bool(properties.input_cut), differentiable, reached)


@dataclass(frozen=True)
class LayerPlace:
    """A layer of the request, and its side whose units are ranked."""

    layer: Layer
    place: RankedPlace


def ranked_places(request: "JobRequest", facts: Facts) -> list[LayerPlace]:
    """The places of all layers; empty while the model is not ready, and where one is missing."""
    if facts.manifest is None:
        return []
    layers = [layer_named(name, facts.manifest) for name in request.layers]
    places = [LayerPlace(layer, place) for layer in layers if layer and (place := place_of(request, layer))]
    return places if len(places) == len(layers) else []


def unit_count(request: "JobRequest", place: RankedPlace) -> int:
    """The number of ranked units; the number of elements where the place lacks such units."""
    return prod(unit_shape(request.units, place.shape, place.channel_axis) or place.shape)


def output_of(request: "JobRequest", manifest: Manifest) -> OutputPort | None:
    """The output that is explained: the one that the request names, or the first."""
    if request.output is None:
        return manifest.outputs[0] if manifest.outputs else None
    return next((port for port in manifest.outputs if port.name == request.output), None)


def logit_count(output: OutputPort) -> int | None:
    """The number of values that the output has for each example: 1 for `[N]`, C for `[N, C]`.

    With further axes, which `target.reduce` reduces, it is the size of the axis of the classes;
    None if this axis is not known.
    """
    if len(output.shape) < 2:
        return 1
    axis = 1 if len(output.shape) == 2 else output.class_axis
    return None if axis is None else output.shape[axis]


def class_count(request: "JobRequest", output: OutputPort) -> int | None:
    """The number of classes that the target can explain; None where it explains the raw value.

    An output of one value has two classes if the request names a class.
    """
    count = logit_count(output)
    return count if count != 1 else None if request.target.class_ is None else 2


def explained_count(request: "JobRequest", facts: Facts) -> int:
    """The number of classes that get rankings of their own; 1 unless the target explains each."""
    output = output_of(request, facts.manifest) if facts.manifest and request.target.class_ == "each" else None
    return (logit_count(output) or 1) if output else 1


def ranking_count(request: "JobRequest", facts: Facts) -> int:
    """The number of rankings: one for each method, and for each explained class."""
    return len(request.methods) * explained_count(request, facts)


def cluster_count(request: "JobRequest", facts: Facts) -> int:
    """The largest number of clusters that the job can have; 1 while the number is unknown."""
    return request.clusters.count(request, facts)


def example_count(request: "JobRequest", facts: Facts) -> int:
    """The largest number of distinct examples that the job can use."""
    count, limit = request.clusters.example_count(facts), request.clusters.limit
    return count if limit is None else min(count, limit * cluster_count(request, facts))


def row_count(request: "JobRequest", facts: Facts) -> int:
    """The largest number of rows in all clusters; an example counts in each of its clusters."""
    return request.clusters.row_count(example_count(request, facts))


Kind = Literal["real", "integer", "boolean", "text"]


def kind_of(dtype: str) -> Kind:
    """The kind of a dtype: `float32` is real, `uint8` integer, `bool` boolean, `str` text."""
    if dtype.startswith(("int", "uint")):
        return "integer"
    if dtype.startswith("bool"):
        return "boolean"
    return "real" if dtype.startswith(("float", "bfloat")) else "text"


def path_values(manifest: Manifest) -> list[str]:
    """Names of the values that a baseline replaces: real inputs, embeddings of integer inputs."""
    return [port.name for port in manifest.inputs if kind_of(port.dtype) == "real"] if manifest.path is None else manifest.path
