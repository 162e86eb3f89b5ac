"""The request of a job: its fields and their defaults."""

import json
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, JsonValue, StringConstraints

from unitrank_schemas.base import Reference, Schema
from unitrank_schemas.datasets import InlineDataset
from unitrank_schemas.facts.units import Units
from unitrank_schemas.jobs.ablation import Ablation, Fidelity
from unitrank_schemas.jobs.baselines import Baseline, Zeros
from unitrank_schemas.jobs.clusters import All, Clusters
from unitrank_schemas.jobs.targets import Target
from unitrank_schemas.methods import Method

Place = Literal["output", "input"]
LayerName = Annotated[str, StringConstraints(min_length=1, max_length=512)]
MOST_LAYERS = 64
"""Largest number of layers of a job."""
WILDCARD = "*"
"""Matches any characters in the name of a layer."""

METADATA_BYTES = 64 * 1024
"""Largest size of a job's metadata as JSON. It is stored and returned with the job."""
METADATA_ENTRIES = 64
"""Largest number of entries of a job's metadata."""


class Preprocess(Schema):
    """Inputs are cast to the model's dtype, then become (x · scale − mean) / std.

    A list has one number for each index of axis 1.
    """

    scale: float | list[float] = 1.0
    mean: float | list[float] | None = None
    std: float | list[float] | None = None


class Webhook(Schema):
    """The URL that gets a signed `Announcement` (Standard Webhooks) when the job ends."""

    url: str = Field(min_length=1, max_length=2048, examples=["https://example.org/hook"])


def checked_metadata(metadata: dict[str, JsonValue]) -> dict[str, JsonValue]:
    """Return the metadata of a job. Raises ValueError if they are too large."""
    if len(metadata) > METADATA_ENTRIES:
        raise ValueError(f"metadata has {len(metadata)} entries; at most {METADATA_ENTRIES} are allowed")
    if (size := len(json.dumps(metadata, ensure_ascii=False).encode())) > METADATA_BYTES:
        raise ValueError(f"metadata has {size} bytes as JSON; at most {METADATA_BYTES} are allowed")
    return metadata


class JobRequest(Schema):
    """A job ranks the units of a layer by importance in each cluster, and tests each ranking."""

    model: Reference = Field(description="Name of the model; `name@sha256:…` for one exact content.")
    layer: LayerName | Annotated[list[LayerName], Field(min_length=1, max_length=MOST_LAYERS)] = Field(
        description="Name of a layer in the model's list. A list of names ranks the units of each of these layers; the result "
        f"has a part for each under `layers`. `*` in a name matches any characters; at most {MOST_LAYERS} layers.",
        examples=["relu1", ["relu1", "relu2"], "encoder.*.mlp"],
    )
    dataset: Reference | InlineDataset = Field(description="Name of the dataset, or a small dataset inside the request.")
    methods: list[Method] = Field(
        min_length=1, max_length=64, description="Each entry makes a ranking: a method's name, or an object with its options."
    )

    clusters: Clusters = All()
    inputs: dict[str, str] | None = Field(
        None,
        description="Input of the model → field of the dataset. Default: the field with the input's name; for a model with one "
        "input also `x`.",
    )
    labels: str | None = Field(None, description="Field with the labels. Default: `y`, if it holds integers or booleans.")
    preprocess: Preprocess = Preprocess()
    joint: bool = Field(
        False,
        description="Also rank the units of all layers together, and test this ranking by replacing units of all layers at once. "
        "Needs several layers.",
    )
    output: str | None = Field(None, description="Name of the output to explain. Default: the model's first.")
    at: Place = Field("output", description="Rank the output or the input of the layer.")
    units: Units = Field(
        "neuron",
        description="`neuron`: each element is a unit. `channel`: all elements of a channel are one unit. `position`: all channels "
        "of a position, such as a token or a pixel, are one unit. An object groups the indices of one axis. The score of a unit is "
        "the sum over its elements, and a unit is replaced as a whole.",
    )
    target: Target = Target()
    baseline: Baseline = Zeros()
    ablation: Ablation | None = Field(Ablation(), description="The test against random orders; null: no test.")
    fidelity: Fidelity | None = Field(Fidelity(), description="The test of predicted drops; null: no test.")
    keep_examples: int = Field(
        0, ge=0, le=100_000, description="Scores of single examples are kept for at most this many examples of each cluster."
    )
    seed: int = Field(0, ge=0, le=2**63 - 1, description="Seed of everything that is random in the job.")
    timeout: float = Field(3600, gt=0, le=7 * 24 * 3600, description="Seconds that the job may run.")
    priority: Literal["high", "normal", "low"] = Field("normal", description="Order among the jobs of the same key.")
    execution: Literal["auto", "local", "distributed"] = Field(
        "auto",
        description="`local` runs the job in one process, `distributed` divides it between the nodes of a Ray cluster, "
        "and `auto` divides a long job if the operator has a cluster. The result is the same.",
    )
    webhook: Webhook | None = None
    metadata: Annotated[dict[str, JsonValue], AfterValidator(checked_metadata)] = Field(
        default={},
        max_length=METADATA_ENTRIES,
        description=f"Returned with the job; PATCH changes them. `name` is the title. At most {METADATA_BYTES} bytes as JSON.",
    )

    @property
    def layers(self) -> list[str]:
        """Names of the layers, in the order of the request."""
        return self.layer if isinstance(self.layer, list) else [self.layer]

    @property
    def one_layer(self) -> str:
        """Name of the only layer. Raises ValueError for a list of layers, see `of_layers`."""
        if isinstance(self.layer, list):
            raise ValueError(f"the request has a list of {len(self.layer)} layers; take one of `of_layers`")
        return self.layer

    def of_layers(self) -> "list[JobRequest]":
        """The requests that rank one of the layers each; only this request without a list."""
        if not isinstance(self.layer, list):
            return [self]
        return [self.model_copy(update={"layer": layer, "joint": False}) for layer in self.layer]
