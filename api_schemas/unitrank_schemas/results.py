"""Results: the summary of a job, after part 6 of the contract."""

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
"""Verdict → its label in reports, pages, tables and figures; None where the job asked for no ablation."""


class Content(Schema):
    """What exactly was used; an inline dataset has no name."""

    name: str | None
    digest: str


class RankedLayer(Schema):
    """The place whose units are ranked."""

    name: str
    at: Literal["output", "input"]
    cut: bool
    units: Literal["neuron", "channel"]
    shape: list[int] = Field(description="Of the units, row-major.")
    count: int
    channel_axis: int | None = Field(
        None,
        description="Axis of `shape` that counts the channels. Null in results of before this was noted, which take the first.",
    )


class Cluster(Schema):
    """A cluster, and what the model does on it unaltered."""

    name: str
    examples: int
    ranked_on: int
    tested_on: int
    accuracy: float | None = Field(None, description="Null without labels.")
    score: float | None = Field(None, description="Mean of the target.")


class Unit(Schema):
    """One unit of a ranking."""

    unit: int
    index: list[int]
    importance: float
    spread: float | None = None


class Completeness(Schema):
    """What the signed scores sum to, and what they would sum to were they complete."""

    sum: float
    expected: float
    relative_gap: float | None = None


class Curve(Schema):
    """Mean score and accuracy after each count of replaced units."""

    score: list[float]
    accuracy: list[float] | None = None
    area: float | None = None


class Band(Schema):
    """The random orders at each count: mean and central range."""

    mean: list[float]
    low: list[float]
    high: list[float]


class Control(Schema):
    """The random orders together."""

    score: Band
    accuracy: Band | None = None
    area: float | None = None


class AblationResult(Schema):
    """A ranking put to the test on one cluster."""

    counts: list[int]
    fractions: list[float]
    most: Curve | None = None
    least: Curve | None = None
    random: Control | None = None
    activity_area: float | None = None
    p_value: float | None = None
    p_worse: float | None = None
    p_holm: float | None = None
    verdict: Verdict


class ClusterRanking(Schema):
    """A ranking on one cluster."""

    top: list[Unit]
    completeness: Completeness | None = None
    cancellation: float | None = None
    stability: float | None = None
    ablation: AblationResult | None = None


class Overall(Schema):
    """The verdict over all clusters together."""

    p_value: float | None = None
    p_worse: float | None = None
    verdict: Verdict


class Difference(Schema):
    """A mean with its 95 % interval."""

    value: float
    low: float
    high: float


class FidelityResult(Schema):
    """Predicted against actual change of the target; mae and bias in units of F."""

    mae: float
    mae_of_zero: float = Field(description="The error of predicting no change at all.")
    bias: float
    spearman: float | None = None
    against: str | None = Field(None, description="The ranking with the lowest other error.")
    mann_whitney: float | None = None
    wilcoxon: float | None = None
    mean_difference: Difference | None = None


class Ranking(Schema):
    """One method with one statistic."""

    id: str
    method: dict[str, Any]
    clusters: dict[str, ClusterRanking]
    overall: Overall | None = None
    fidelity: FidelityResult | None = None
    options: dict[str, Any] = Field(
        {},
        description="What the method settled while it ran: `steps` that a tolerance needed, operations of the model that took "
        "`quadrature` or a plain `derivative`.",
    )
    seconds: float = Field(description="The ranking's share of the job: of the passes by its points, of the study in equal parts.")


class Leader(Schema):
    """A line of the leaderboard."""

    ranking: str
    verdict: Verdict | None = None
    better_than_random: int
    of: int
    mean_area: float | None = None
    mae: float | None = None


class Warn(Schema):
    """Something that a reader of the numbers should know."""

    code: str
    detail: str
    cluster: str | None = None
    ranking: str | None = None


class Cost(Schema):
    """What the job took."""

    seconds: float
    forward_rows: int
    backward_rows: int
    device: str
    peak_bytes: int
    reused: list[str] = Field(
        [],
        description="What an earlier job had left and was not computed again: rankings by their ids, or `<id>/scores` or "
        "`<id>/ablation` alone; `controls`, the random orders; `clusters`.",
    )


class Provenance(Schema):
    """What it takes to get the same numbers again."""

    seed: int
    version: str
    torch: str
    options: dict[str, Any]


class Result(Schema):
    """The summary of a finished job."""

    job: str
    model: Content
    dataset: Content
    layer: RankedLayer
    clusters: list[Cluster]
    rankings: list[Ranking]
    leaderboard: list[Leader]
    warnings: list[Warn]
    cost: Cost
    provenance: Provenance
