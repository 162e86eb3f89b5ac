"""Results: the summary of a finished job. docs/results.md describes the arrays."""

from typing import Any, Literal

from pydantic import Field

from unitrank_schemas.base import Schema

Verdict = Literal["better_than_random", "no_better_than_random", "worse_than_random", "undecided"]

VERDICT_LABELS: dict[str | None, str] = {
    "better_than_random": "better than random",
    "no_better_than_random": "no better than random",
    "worse_than_random": "worse than random",
    "undecided": "undecided",
    None: "not tested",
}
"""Verdict → its label in reports, pages, tables and figures; None for a job without ablation."""


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


class Unit(Schema):
    """One unit of a ranking."""

    unit: int = Field(description="Number of the unit in row-major order of the layer's `shape`.")
    index: list[int] = Field(description="Indices of the unit in the layer's `shape`.")
    importance: float
    spread: float | None = Field(
        None, description="Standard deviation of the values that the statistic averages; null for a cluster of one example."
    )


class Completeness(Schema):
    """The sum of the signed scores, compared with the change of the target from the baseline."""

    sum: float = Field(description="Sum of the scores over all units, averaged over the examples.")
    expected: float = Field(description="F(x) − F(x′), averaged over the examples.")
    relative_gap: float | None = Field(
        None,
        description="Σ |sum − change| / Σ |change| over the examples. Null if the method is not complete, the place is not a cut, "
        "or the change is close to zero.",
    )


class Curve(Schema):
    """Mean target and accuracy over the test examples after each count of replaced units."""

    score: list[float] = Field(description="Mean of the target F, one value for each of `counts`.")
    accuracy: list[float] | None = Field(None, description="Null without labels.")
    area: float | None = Field(
        None,
        description="Mean drop of F over the counts, divided by the drop with all units replaced; null if that is close to zero.",
    )


class Band(Schema):
    """The random orders at each count: their mean, and the central range with the share `level`."""

    mean: list[float]
    low: list[float]
    high: list[float]


class Control(Schema):
    """The random orders that a ranking is compared with."""

    score: Band
    accuracy: Band | None = None
    area: float | None = Field(None, description="Mean of the random orders' areas.")


class AblationResult(Schema):
    """The test of a ranking on one cluster: its order of replacing units against random orders."""

    counts: list[int] = Field(description="Numbers of replaced units, ascending.")
    fractions: list[float] = Field(description="The requested fraction of each count.")
    most: Curve | None = Field(None, description="The most important units are replaced first.")
    least: Curve | None = Field(None, description="The units with the smallest |importance| are replaced first.")
    random: Control | None = Field(None, description="The random orders.")
    activity_area: float | None = Field(None, description="Area of the order by mean |h − fill|, the activity of the units.")
    p_value: float | None = Field(
        None, description="Share of the orders, random ones and the ranking's, whose drop of F is at least that of the ranking."
    )
    p_worse: float | None = Field(
        None, description="Share of the orders, random ones and the ranking's, whose drop of F is at most that of the ranking."
    )
    p_holm: float | None = Field(None, description="`p_value`, corrected for the number of clusters.")
    verdict: Verdict


class ClusterRanking(Schema):
    """A ranking on one cluster."""

    top: list[Unit] = Field(description="The most important units, the first one first.")
    completeness: Completeness | None = None
    cancellation: float | None = Field(
        None,
        description="From 0 to 1: how much the signed scores of different examples cancel in the mean; null for one example.",
    )
    stability: float | None = Field(None, description="Spearman correlation of the importance between the cluster's two halves.")
    ablation: AblationResult | None = None


class Overall(Schema):
    """The verdict over all clusters together; each cluster has equal weight."""

    p_value: float | None = Field(None, description="As for a cluster, from the standardised drops summed over the clusters.")
    p_worse: float | None = Field(None, description="As for a cluster, from the standardised drops summed over the clusters.")
    verdict: Verdict


class Difference(Schema):
    """A mean with its 95 % interval."""

    value: float
    low: float
    high: float


class FidelityResult(Schema):
    """The predicted drop of the target, compared with the real drop when units are replaced."""

    mae: float = Field(description="Mean over examples of |sum of the replaced units' scores − real drop|, in units of F.")
    mae_of_zero: float = Field(description="Mean |real drop|: the `mae` of always predicting no change.")
    bias: float = Field(description="Mean of predicted − real drop, in units of F.")
    spearman: float | None = Field(None, description="Spearman correlation of predicted and real drop over the examples.")
    against: str | None = Field(None, description="The other ranking with the lowest `mae`; the next three fields compare with it.")
    mann_whitney: float | None = Field(None, description="p-value of the Mann–Whitney test of the two rankings' errors.")
    wilcoxon: float | None = Field(None, description="p-value of the Wilcoxon signed-rank test of the paired errors.")
    mean_difference: Difference | None = Field(
        None, description="Mean of this ranking's errors minus those of `against`; below zero, this ranking predicts better."
    )


class Ranking(Schema):
    """One method with one statistic."""

    id: str
    method: dict[str, Any] = Field(
        description="The entry of the request with its defaults and the spacing that was used, without the id."
    )
    clusters: dict[str, ClusterRanking]
    overall: Overall | None = None
    fidelity: FidelityResult | None = None
    options: dict[str, Any] = Field(
        {},
        description="Options that the method decided while it ran: the `steps` that a tolerance needed, and the operations of the "
        "model that took `quadrature` or a plain `derivative`.",
    )
    seconds: float = Field(
        description="The ranking's share of the job's time. The time of shared passes is divided in proportion to each method's "
        "path points and gradients, the time of the ablation study equally."
    )


class Leader(Schema):
    """One line of the leaderboard, the best ranking first."""

    ranking: str
    verdict: Verdict | None = Field(None, description="The overall verdict.")
    better_than_random: int = Field(description="Clusters in which the ranking is better than random.")
    of: int = Field(description="Clusters in which it was tested.")
    mean_area: float | None = Field(None, description="Mean of the areas over the clusters where it is not null.")
    mae: float | None = Field(None, description="From `fidelity`.")


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
    peak_bytes: int = Field(description="Largest GPU memory in use, in bytes; 0 on a CPU.")
    reused: list[str] = Field(
        [],
        description="Parts that were taken from earlier jobs: a ranking's id, or `<id>/scores` or `<id>/ablation` if only this "
        "part of the ranking was taken; `controls` for the random orders; `clusters`.",
    )


class Provenance(Schema):
    """The seed, versions and options that make the numbers reproducible."""

    seed: int
    version: str = Field(description="Version of Unitrank.")
    torch: str = Field(description="Version of PyTorch.")
    options: dict[str, Any] = Field(description="The request's target, baseline, inputs, clusters and tests, with their defaults.")


class Result(Schema):
    """The summary of a finished job."""

    job: str = Field(description="Id of the job.")
    model: Content
    dataset: Content
    layer: RankedLayer
    clusters: list[Cluster]
    rankings: list[Ranking] = Field(description="In the order of the request's `methods`.")
    leaderboard: list[Leader] = Field(description="The best ranking first.")
    warnings: list[Warn]
    cost: Cost
    provenance: Provenance
