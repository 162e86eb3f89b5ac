"""The request of a job: the fields that a client may set, and their defaults."""

import json
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, JsonValue

from unitrank_schemas.base import Reference, Schema
from unitrank_schemas.datasets import InlineDataset
from unitrank_schemas.jobs.ablation import Ablation, Fidelity
from unitrank_schemas.jobs.baselines import Baseline, Zeros
from unitrank_schemas.jobs.clusters import All, Clusters
from unitrank_schemas.jobs.targets import Target
from unitrank_schemas.methods import Method

Place = Literal["output", "input"]
Units = Literal["neuron", "channel"]

METADATA_BYTES = 64 * 1024
"""What the metadata of a job may take as JSON: it is kept, and handed out, with the job."""


class Preprocess(Schema):
    """Inputs are cast to the model's dtype, then (x·scale − mean)/std; a list counts along axis 1."""

    scale: float | list[float] = 1.0
    mean: float | list[float] | None = None
    std: float | list[float] | None = None


class Webhook(Schema):
    """Where the end of the job is announced: the body is an `Announcement`, signed after Standard Webhooks."""

    url: str = Field(min_length=1, max_length=2048, examples=["https://example.org/hook"])


def _small(metadata: dict[str, JsonValue]) -> dict[str, JsonValue]:
    if (size := len(json.dumps(metadata, ensure_ascii=False).encode())) > METADATA_BYTES:
        raise ValueError(f"{size} bytes as JSON; at most {METADATA_BYTES} are kept")
    return metadata


class JobRequest(Schema):
    """One job: the importance of every unit of a layer for every cluster, and what each ranking is worth."""

    model: Reference
    layer: str = Field(min_length=1, max_length=512)
    dataset: Reference | InlineDataset
    methods: list[Method] = Field(min_length=1, max_length=64)

    clusters: Clusters = All()
    inputs: dict[str, str] | None = Field(None, description="Model input ← field. Default: by equal name, or the only input ← `x`.")
    labels: str | None = Field(None, description="Field of the labels. Default: `y` if there is one.")
    preprocess: Preprocess = Preprocess()
    output: str | None = Field(None, description="Which of several outputs. Default: the first.")
    at: Place = Field("output", description="After or before what the layer computes.")
    units: Units = Field("neuron", description="`channel`: scores summed over the other axes, ablated together.")
    target: Target = Target()
    baseline: Baseline = Zeros()
    ablation: Ablation | None = Ablation()
    fidelity: Fidelity | None = Fidelity()
    keep_examples: int = Field(0, ge=0, le=100_000)
    seed: int = Field(0, ge=0, le=2**63 - 1)
    timeout: float = Field(3600, gt=0, le=7 * 24 * 3600)
    priority: Literal["high", "normal", "low"] = "normal"
    webhook: Webhook | None = None
    metadata: Annotated[dict[str, JsonValue], AfterValidator(_small)] = Field(default={}, max_length=64)
