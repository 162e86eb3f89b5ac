"""A job's resource: its state and progress. Also the answer to a dry run."""

from datetime import datetime
from typing import Literal

from pydantic import Field

from unitrank_schemas.base import Schema
from unitrank_schemas.jobs.request import JobRequest
from unitrank_schemas.problems import JobProblem

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
