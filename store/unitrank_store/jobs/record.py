"""What is known about one job or one inspection, and how it lies in a Redis hash."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, Literal, Self, cast

from unitrank_schemas.base import Json

Status = Literal["queued", "running", "cancelling", "succeeded", "failed", "cancelled", "timed_out"]

DEFAULT_TENANT = "default"
LIVE: tuple[Status, ...] = ("queued", "running", "cancelling")
ENDED: tuple[Status, ...] = ("succeeded", "failed", "cancelled", "timed_out")


@dataclass(frozen=True)
class JobRecord:
    """A snapshot of the truth; `version` grows with every change. Times are unix seconds.

    `owner` is the key that it came with, empty without keys, and `tenant` whom it belongs to.
    `request_text` is JSON: a dataset may lie in it, and who only hands it on, or looks how far a job is, need not read it.
    """

    id: str
    status: Status
    attempt: int
    created_at: float
    started_at: float | None
    finished_at: float | None
    expires_at: float | None
    request_text: str
    resolved: Json
    progress: Json | None
    problem: Json | None
    worker: str | None
    result: Json | None
    cancel_requested: bool
    version: int
    losses: int
    needs: list[str]
    waiting_for: list[str]
    owner: str
    tenant: str

    @classmethod
    def queued(
        cls,
        *,
        id: str,
        created_at: float,
        request: Json,
        resolved: Json,
        needs: Sequence[str],
        waiting_for: Sequence[str],
        owner: str,
        tenant: str,
    ) -> Self:
        """A record that no worker has started."""
        return cls(
            id=id,
            status="queued",
            attempt=0,
            created_at=created_at,
            started_at=None,
            finished_at=None,
            expires_at=None,
            request_text=json.dumps(request),
            resolved=resolved,
            progress=None,
            problem=None,
            worker=None,
            result=None,
            cancel_requested=False,
            version=1,
            losses=0,
            needs=list(needs),
            waiting_for=list(waiting_for),
            owner=owner,
            tenant=tenant,
        )

    @cached_property
    def request(self) -> Json:
        # Any: what `create` was given
        return cast(Json, json.loads(self.request_text))

    @property
    def ended(self) -> bool:
        return self.status in ENDED

    @property
    def timeout(self) -> float:
        """Seconds that one attempt may take."""
        return float(self.request.get("timeout") or 3600)


# These lie as they are; every other field lies as JSON.
_PLAIN = ("id", "status", "request_text", "owner", "tenant")
_STORED_AS = {"request_text": "request"}


def encode(values: Mapping[str, Any]) -> dict[Any, Any]:
    """Fields of a record as the strings of a hash."""
    # Any: as redis-py declares a hash
    return {_STORED_AS.get(name, name): value if name in _PLAIN else json.dumps(value) for name, value in values.items()}


def decode(stored: Mapping[bytes, bytes]) -> JobRecord:
    """The record of a whole hash."""
    texts = {name.decode(): value.decode() for name, value in stored.items()}
    # Any: each field's type is the one that `encode` was given
    values: dict[str, Any] = {
        field.name: text if field.name in _PLAIN else json.loads(text)
        for field in fields(JobRecord)
        for text in [texts[_STORED_AS.get(field.name, field.name)]]
    }
    return JobRecord(**values)
