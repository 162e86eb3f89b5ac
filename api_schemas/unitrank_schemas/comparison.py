"""The comparison of two to four jobs."""

from typing import Any, Literal

from pydantic import Field

from unitrank_schemas.base import Schema
from unitrank_schemas.jobs import JobStatus, JobSummary, Place, Units
from unitrank_schemas.results import Agreement, Comparison, Content, Leader

MOST_JOBS = 4
"""Jobs that one comparison may have."""


class BestCurve(Schema):
    """The score of the best ranking while units are replaced, the most important first.

    The values are pooled over the clusters that have an area: 1 with no unit replaced, 0 with all.
    1 minus the mean of the values after the first is the ranking's pooled area.
    """

    ranking: str
    shares: list[float] = Field(description="Shares of the units that are replaced, from 0.")
    left: list[float] = Field(description="Share of the score that is left, one value for each of `shares`.")


class ComparedJob(Schema):
    """One of the compared jobs."""

    id: str
    name: str | None = Field(None, description="Title of the job, from `metadata.name`.")
    status: JobStatus
    model: Content
    dataset: Content
    layer: str = Field(description="The layer that is compared; `joint` for the units of all layers together.")
    layers: list[str] | None = Field(
        None, description="The layers of a job with several, and `joint`: values of `layer` in the query. Null for one layer."
    )
    at: Place
    units: Units
    summary: JobSummary | None = None
    leaderboard: list[Leader] = Field([], description="The leaderboard of the result; empty without a result.")
    curve: BestCurve | None = Field(None, description="Null without a test of the best ranking by its score.")


class RequestDifference(Schema):
    """A part of the requests that differs."""

    field: str = Field(
        description="Name of the part, such as `ablation.fill`. `model` and `dataset` differ where the exact contents do, and are "
        "named first.",
        examples=["model", "ablation.fill"],
    )
    values: list[Any] = Field(description="The value of each job, in the order of `jobs`; null where the job has no such part.")


class JobAgreement(Agreement):
    """How similar the rankings of two jobs are, over clusters of the same name."""

    job_a: str = Field(description="Id of the job of `a`.")
    job_b: str = Field(description="Id of the job of `b`.")


class JobRankingComparison(Comparison):
    """The difference of the areas of two rankings of two jobs, from the same test examples."""

    job_a: str = Field(description="Id of the job of `a`.")
    job_b: str = Field(description="Id of the job of `b`.")


class NotCompared(Schema):
    """Why a part of the comparison of two jobs is missing or incomplete."""

    job_a: str
    job_b: str
    part: Literal["agreement", "comparisons"]
    detail: str


class JobComparison(Schema):
    """The comparison of jobs: each of them with each later one.

    Pairs of rankings with the same id are first. Rankings explain the same class in each pair.
    """

    jobs: list[ComparedJob] = Field(description="In the order of the request.")
    differences: list[RequestDifference] = Field(
        description="Differences of model and data first. Metadata and webhooks are left out."
    )
    agreement: list[JobAgreement] = Field(description="For jobs that rank the units of equal places.")
    comparisons: list[JobRankingComparison] = Field(
        description="For jobs that also test the same examples of the same data with the same model, target and fill; without the "
        "rankings of the method `random`."
    )
    not_compared: list[NotCompared]
