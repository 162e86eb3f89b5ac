"""A job's resource: its state and progress. Also the answer to a dry run."""

from datetime import datetime
from typing import Literal

from pydantic import Field, JsonValue, ValidationError

from unitrank_schemas.base import Json, Schema
from unitrank_schemas.jobs.request import METADATA_ENTRIES, JobRequest
from unitrank_schemas.leading import leading_index
from unitrank_schemas.problems import JobProblem
from unitrank_schemas.results.verdicts import Verdict

JobStatus = Literal["queued", "running", "cancelling", "succeeded", "failed", "cancelled", "timed_out"]
ENDED: frozenset[str] = frozenset({"succeeded", "failed", "cancelled", "timed_out"})


class Shards(Schema):
    """The ranges of rows of the pass that runs, in a job that is divided between nodes."""

    done: int
    total: int


class Progress(Schema):
    """The progress of a running job."""

    done: int
    total: int
    unit: str = Field(description="Unit of `done` and `total`.", examples=["examples"])
    stage: str = Field(examples=["attribution", "ablation"])
    eta: float | None = Field(None, description="Estimated seconds until the end; null without an estimate.")
    shards: Shards | None = Field(None, description="Ranges of the pass that runs; null if the job runs on one node.")


class JobLinks(Schema):
    """URLs of the job's resources."""

    self: str
    result: str
    events: str
    report: str


class JobSummary(Schema):
    """The best ranking of a result, for lists of jobs."""

    best: str | None = Field(
        None,
        max_length=1000,
        description="The first ranking of the leaderboard that may be called the best one: "
        "`random`, `weight_norm` and given importances are taken only where there is no other.",
    )
    verdict: Verdict | None = Field(None, description="Its overall verdict; null without ablation.")
    robust: bool | None = Field(None, description="Whether the verdict is better than random and has no doubts.")
    area: float | None = Field(None, description="Its pooled area.")
    clusters: int = Field(description="Number of clusters of the result.")


def job_summary(result: Json) -> Json | None:
    """Return the summary of a job from its result as JSON; None for a malformed result."""
    try:
        layer, leader = _leader(result)
        values = {name: leader.get(name) for name in ("verdict", "robust", "area")}
        best = leader.get("ranking")
        best = f"{best} at {layer}" if best is not None and layer is not None else best
        summary = JobSummary(best=best, clusters=len(result["clusters"]), **values)
    except (LookupError, TypeError, AttributeError, ValidationError):
        return None
    return summary.model_dump(mode="json")


def _leader(result: Json) -> tuple[str | None, Json]:
    """The best ranking's line of the leaderboard.

    With several layers, that of the layer with the best line.

    The layer is None for a result of one layer. A line is better with a better verdict, then with a
    larger area. The units of all layers together come first of equals.
    """
    if "layers" not in result:
        return None, _leading_line(result)
    parts: Json = ({"joint": result["joint"]} if result.get("joint") else {}) | result["layers"]
    leaders: list[tuple[str, Json]] = [(name, _leading_line(part)) for name, part in parts.items()]
    return max(leaders, key=lambda each: (each[1].get("verdict") == "better_than_random", each[1].get("area") or 0.0))


def _leading_line(part: Json) -> Json:
    """The leaderboard's line of the best ranking; empty without a leaderboard."""
    methods, lines = {each["id"]: each["method"] for each in part["rankings"]}, part["leaderboard"]
    return lines[leading_index([methods[line["ranking"]] for line in lines])] if lines else {}


class JobChange(Schema):
    """A change of a job. Only its metadata can change after it was submitted."""

    metadata: dict[str, JsonValue] = Field(
        max_length=METADATA_ENTRIES,
        description="Entries to set; null removes an entry, and the other entries stay. `name` is the job's title; the page also "
        "shows `tags`, a list of texts, and `notes`, a text.",
    )


class Job(Schema):
    """A job."""

    id: str
    status: JobStatus
    attempt: int = Field(description="Number of starts; more than 1 if a worker was lost.")
    created_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None
    expires_at: datetime | None = Field(None, description="Time after which the result is deleted.")
    position: int | None = Field(None, description="Number of jobs before this one in the queue.")
    progress: Progress | None = None
    request: JobRequest = Field(description="The request with its defaults.")
    problem: JobProblem | None = Field(None, description="Why the job failed.")
    worker: str | None = Field(None, description="Name of the worker that runs the job.")
    summary: JobSummary | None = Field(
        None, description="The result in short; null unless the job has succeeded, and for results of older workers."
    )
    submitted_by: str | None = Field(None, description="Name of the key that submitted the job; null without keys.")
    links: JobLinks


class Estimate(Schema):
    """The expected cost of a job."""

    passes: int = Field(description="Passes of one example; a partial pass counts by its share of the cost.")
    seconds: float = Field(description="Estimated from the speed that the workers measured in earlier jobs.")
    result_bytes: int = Field(description="Bytes of the result's arrays.")


class DryRun(Schema):
    """The answer to a dry run: the request with its defaults filled in, and its expected cost."""

    request: JobRequest
    estimate: Estimate
