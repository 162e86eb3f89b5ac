"""Lines of a list of jobs: the parts of a record that a list shows, without the request."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import redis

from unitrank_schemas.base import Json
from unitrank_store.jobs.listing.listing import listing_of
from unitrank_store.jobs.record import ENDED, Status
from unitrank_store.redis import keyspace
from unitrank_store.unavailable import unavailable_reason

_FIELDS = ("status", "created_at", "started_at", "finished_at", "progress", "problem", "summary", "listing")


@dataclass(frozen=True)
class JobLine:
    """A job in a list; see `JobRecord` for its fields."""

    id: str
    status: Status
    created_at: float
    started_at: float | None
    finished_at: float | None
    progress: Json | None
    problem: Json | None
    summary: Json | None
    listing: Json

    @property
    def ended(self) -> bool:
        return self.status in ENDED


def read_lines(connection: redis.Redis, kind: str, ids: Sequence[str]) -> list[JobLine]:
    """Return the lines of the records that exist, in the order of `ids`."""
    with connection.pipeline(transaction=False) as pipeline:
        for id in ids:
            pipeline.hmget(keyspace.record(kind, id), *_FIELDS)
        replies = pipeline.execute(raise_on_error=False)
    lines = [_line(id, stored) for id, stored in zip(ids, replies, strict=True)]
    return [line for line in lines if line is not None]


def _line(id: str, stored: Any) -> JobLine | None:  # Any: a reply of Redis
    """Return the line; None for a record that has expired since it was found, or is malformed."""
    if isinstance(stored, Exception) and unavailable_reason(stored):
        raise stored
    try:
        status, *values = stored
        # Any: each value has the type that it had before `encode`
        decoded: list[Any] = [None if value is None else json.loads(value) for value in values]
        created, started, finished, *objects = decoded
        progress, problem, summary, listing = objects
        if not all(each is None or isinstance(each, dict) for each in objects) or not listing:
            return None
        return JobLine(id, status.decode(), created, started, finished, progress, problem, summary, {**listing_of({}), **listing})
    except (TypeError, ValueError, AttributeError):
        return None
