"""Facts of a model and a dataset, what a request means on them, and a flaw of a request."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from unitrank_schemas.datasets import FieldInfo
from unitrank_schemas.models import Layer, Manifest, Port, Seen

if TYPE_CHECKING:
    from unitrank_schemas.jobs import JobRequest

MOST_CLUSTERS = 10_000

Value = str | int | float | bool
Distinct = Callable[[str], list[Value] | None]
"""The distinct values of a field with one axis, at most 10 001 of them; None where reading them is too dear."""


@dataclass(frozen=True)
class Flaw:
    """One place of a request that is wrong; `pointer` is a JSON Pointer into it."""

    pointer: str
    code: str
    detail: str


class RequestRejected(Exception):
    """A request that cannot be run as it stands."""

    def __init__(self, flaws: list[Flaw]) -> None:
        super().__init__("; ".join(flaw.detail for flaw in flaws))
        self.flaws = flaws


@dataclass(frozen=True)
class Facts:
    """What is known of the model and the dataset; None for one that is not ready yet."""

    manifest: Manifest | None
    fields: dict[str, FieldInfo] | None
    examples: int
    distinct: Distinct
    max_result_bytes: int


@dataclass(frozen=True)
class RankedPlace:
    """The value whose units are ranked."""

    shape: list[int]
    channel_axis: int | None
    cut: bool
    differentiable: bool
    reached: bool = True
    """Whether the output that is explained is computed from it."""


def layer_of(request: "JobRequest", manifest: Manifest) -> Layer | None:
    """The layer that the request names."""
    return named(request.layer, manifest)


def named(name: str, manifest: Manifest) -> Layer | None:
    """The layer of this name."""
    return next((layer for layer in manifest.layers if layer.name == name), None)


def place_of(request: "JobRequest", layer: Layer) -> RankedPlace | None:
    """The side of the layer that the request means, as its output sees it; None where that is no place."""
    seen = (layer.seen_by or {}).get(request.output or "") or layer
    reached = not isinstance(seen, Seen) or seen.reached
    if request.at == "output":
        return RankedPlace(layer.shape, layer.channel_axis, seen.cut, seen.differentiable, reached)
    if layer.input_shape is None:
        return None
    differentiable = seen.input_differentiable is not False
    return RankedPlace(layer.input_shape, layer.input_channel_axis, bool(seen.input_cut), differentiable, reached)


def unit_count(request: "JobRequest", place: RankedPlace) -> int:
    """How many units are ranked."""
    if request.units == "channel" and place.channel_axis is not None:
        return place.shape[place.channel_axis]
    count = 1
    for size in place.shape:
        count *= size
    return count


def output_of(request: "JobRequest", manifest: Manifest) -> Port | None:
    """The output that is explained: the named one, or the first."""
    if request.output is None:
        return manifest.outputs[0] if manifest.outputs else None
    return next((port for port in manifest.outputs if port.name == request.output), None)


def class_count(output: Port) -> int | None:
    """The number of classes of an output `[N, C]`; None for `[N]` and `[N, 1]`, whose value itself is explained."""
    size = output.shape[1] if len(output.shape) == 2 else None
    return None if size == 1 else size


def cluster_count(request: "JobRequest", facts: Facts) -> int:
    """How many clusters there will be, as far as it can be known; at least 1."""
    return request.clusters.count(request, facts)


def example_count(request: "JobRequest", facts: Facts) -> int:
    """How many distinct examples the job touches, at most."""
    count, limit = request.clusters.example_count(facts), request.clusters.limit
    return count if limit is None else min(count, limit * cluster_count(request, facts))


def row_count(request: "JobRequest", facts: Facts) -> int:
    """How many rows all clusters have together, at most; an example in several clusters counts in each."""
    return request.clusters.row_count(example_count(request, facts))


Kind = Literal["real", "integer", "boolean", "text"]


def kind_of(dtype: str) -> Kind:
    """The kind of a dtype of the contract: `float32`, `uint8`, `bool`, `str`, …"""
    if dtype.startswith(("int", "uint")):
        return "integer"
    if dtype.startswith("bool"):
        return "boolean"
    return "real" if dtype.startswith(("float", "bfloat")) else "text"


def moving(manifest: Manifest) -> list[str]:
    """What differs between a baseline and an example."""
    return [port.name for port in manifest.inputs if kind_of(port.dtype) == "real"] if manifest.path is None else manifest.path
