"""Schemas for operators: health, workers and version."""

from typing import Literal

from pydantic import Field

from unitrank_schemas.base import Schema


class Health(Schema):
    """The service is alive, or ready."""

    status: Literal["ok"] = "ok"


class ReadinessWarning(Schema):
    """A fault with which jobs run, but may be lost or are less protected from each other.

    `confinement` is a fault of a worker, the other codes are faults of the store.
    """

    code: Literal["acl", "confinement", "eviction", "persistence"]
    detail: str = Field(description="The fault, and the next step.", examples=["the server writes no log (appendonly no)"])


class Readiness(Schema):
    """Jobs can run."""

    status: Literal["ok"] = "ok"
    warnings: list[ReadinessWarning] = Field([], description="Faults that the operator should repair.")


class Worker(Schema):
    """A worker that is alive."""

    name: str
    device: str = Field(examples=["cuda:0"])
    queue: str
    memory: int = Field(description="Resident memory of the worker's child processes, in bytes.")
    children: int = Field(description="Number of the worker's child processes: one for each recent tenant, and a spare.")
    job: str | None = Field(None, description="Id of the running job; null without one, and for a job of another tenant.")
    models: list[str] = Field(description="Names of the models that the worker keeps in memory, without those of other tenants.")


class Workers(Schema):
    """All workers that are alive."""

    items: list[Worker]
    next: None = None


class Version(Schema):
    """Versions of the service and of its HTTP API."""

    version: str
    api: str = "v1"
