"""What an operator sees: health, workers, version."""

from typing import Literal

from pydantic import Field

from unitrank_schemas.base import Schema


class Health(Schema):
    """Whether the service is alive, or ready."""

    status: Literal["ok"] = "ok"


class Worker(Schema):
    """A worker that is alive."""

    name: str
    device: str
    queue: str
    memory: int = Field(description="Resident bytes of the worker and its child.")
    job: str | None = None
    models: list[str] = Field(description="Names of the models held warm.")


class Workers(Schema):
    """All workers that are alive."""

    items: list[Worker]
    next: None = None


class Version(Schema):
    """Versions of the service and of what results depend on."""

    version: str
    api: str = "v1"
