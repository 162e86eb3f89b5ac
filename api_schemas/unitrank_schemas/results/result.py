"""The summary of a finished job. docs/results.md describes the arrays."""

from typing import Any

from pydantic import Field, model_validator

from unitrank_schemas.base import Schema
from unitrank_schemas.results.comparisons import Agreement, Comparison, GivenRelation
from unitrank_schemas.results.rankings import Ranking
from unitrank_schemas.results.subject import Cluster, Content, RankedLayer
from unitrank_schemas.results.verdicts import Verdict

JOINT = "joint"
"""Name of the part of a result that is about the units of all layers together."""


class Leader(Schema):
    """One line of the leaderboard, the best ranking first."""

    ranking: str
    verdict: Verdict | None = Field(None, description="The overall verdict.")
    better_than_random: int = Field(description="Clusters in which the ranking is better than random.")
    of: int = Field(description="Clusters in which it was tested.")
    area: float | None = Field(None, description="The pooled area, `overall.area`.")
    target_class: int | None = Field(None, description="The class that is explained, for the target class `each`; else null.")
    robust: bool | None = Field(None, description="`overall.robust`.")
    ties_with: list[str] = Field([], description="Rankings from which the comparison cannot tell this one apart.")
    mean_area: float | None = Field(None, description="Mean of the areas over the clusters where it is not null.")
    mae: float | None = Field(None, description="From `fidelity`.")

    @model_validator(mode="before")
    @classmethod
    def _area_of_older_versions(cls, values: Any) -> Any:
        """Results of older versions have no pooled area: their mean area takes its place."""
        return {"area": values.get("mean_area"), **values} if isinstance(values, dict) else values


class Warn(Schema):
    """A reason to be careful with the numbers."""

    code: str = Field(description="Stable; programs may branch on it.")
    detail: str
    cluster: str | None = None
    ranking: str | None = None


class Cost(Schema):
    """The time, passes and memory that the job used."""

    seconds: float
    forward_rows: int = Field(description="Rows of all forward passes, whole or partial.")
    backward_rows: int = Field(description="Rows of all backward passes.")
    device: str
    nodes: int = Field(1, description="Number of machines that computed; more than 1 only if the job was divided.")
    peak_bytes: int = Field(description="Largest GPU memory in use, in bytes; 0 on a CPU.")
    reused: list[str] = Field(
        [],
        description="Parts that were taken from earlier jobs: a ranking's id, or `<id>/scores`, `<id>/ablation`, `<id>/verify`, "
        "`<id>/pairs` or `<id>/sanity` if only this part of the ranking was taken; `controls` for the random orders; `clusters`.",
    )


class Provenance(Schema):
    """The seed, versions and options that make the numbers reproducible."""

    seed: int
    version: str = Field(description="Version of Unitrank.")
    torch: str = Field(description="Version of PyTorch.")
    options: dict[str, Any] = Field(description="The request's target, baseline, inputs, clusters and tests, with their defaults.")


class _OfJob(Schema):
    """The parts of a summary that are about the whole job."""

    job: str = Field(description="Id of the job.")
    model: Content
    dataset: Content


class LayerResult(Schema):
    """The part of a summary that is about the units of one layer, or of all layers together."""

    layer: RankedLayer
    rankings: list[Ranking] = Field(description="In the order of the request's `methods`.")
    leaderboard: list[Leader] = Field(description="The best ranking first.")
    comparisons: list[Comparison] = Field([], description="Each pair of rankings of one target class, without `random`.")
    agreement: list[Agreement] = Field([], description="Each pair of rankings of one target class.")
    given: list[GivenRelation] = Field([], description="For each ranking of given scores, the computed ranking nearest to it.")
    warnings: list[Warn]


class Result(LayerResult, _OfJob):
    """The summary of a finished job that ranks one layer."""

    clusters: list[Cluster]
    cost: Cost
    provenance: Provenance


class LayeredResult(_OfJob):
    """The summary of a finished job that ranks a list of layers."""

    clusters: list[Cluster]
    layers: dict[str, LayerResult] = Field(description="Name of a layer → its rankings, in the order of the request.")
    joint: LayerResult | None = Field(None, description="The rankings of all layers' units together; null without `joint`.")
    warnings: list[Warn] = Field(description="Warnings that hold for every layer.")
    cost: Cost
    provenance: Provenance

    def parts(self) -> dict[str, LayerResult]:
        """Name → part: those of the layers, and `joint` if there is one."""
        return self.layers if self.joint is None else {**self.layers, JOINT: self.joint}

    def of_layer(self, name: str) -> Result:
        """The summary as a job of this layer alone has it; the cost is that of the whole job.

        `name`: a layer, or `joint`. Raises KeyError for another name.
        """
        part = self.parts()[name]
        shared = {field: getattr(self, field) for field in ("job", "model", "dataset", "clusters", "cost", "provenance")}
        own = {field: getattr(part, field) for field in LayerResult.model_fields}
        return Result(**{**shared, **own, "warnings": [*self.warnings, *part.warnings]})
