"""A job as clients see it: its state and its progress; and the answer to a dry run."""

from datetime import datetime
from typing import Literal

from pydantic import Field

from unitrank_schemas.base import Schema
from unitrank_schemas.jobs.request import JobRequest
from unitrank_schemas.problems import JobProblem

JobStatus = Literal["queued", "running", "cancelling", "succeeded", "failed", "cancelled", "timed_out"]
ENDED: frozenset[str] = frozenset({"succeeded", "failed", "cancelled", "timed_out"})


class Progress(Schema):
    """How far a running job is."""

    done: int
    total: int
    unit: str = Field(examples=["examples"])
    stage: str = Field(examples=["attribution", "ablation"])
    eta: float | None = Field(None, description="Seconds until the end, from the speed so far.")


class JobLinks(Schema):
    """Where the job's other resources are."""

    self: str
    result: str
    events: str
    report: str


class Job(Schema):
    """A job's state."""

    id: str
    status: JobStatus
    attempt: int = Field(description="How often it was started; more than one after a lost worker.")
    created_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None
    expires_at: datetime | None = None
    position: int | None = Field(None, description="Jobs before it in the queue.")
    progress: Progress | None = None
    request: JobRequest
    problem: JobProblem | None = None
    worker: str | None = None
    links: JobLinks


class Estimate(Schema):
    """What a job will cost, before it is run."""

    passes: int = Field(description="Rows through the model, a partial pass counted by its share of the cost.")
    seconds: float = Field(description="From the throughput that the workers measured on earlier jobs.")
    result_bytes: int


class DryRun(Schema):
    """A checked request with its defaults filled in."""

    request: JobRequest
    estimate: Estimate
