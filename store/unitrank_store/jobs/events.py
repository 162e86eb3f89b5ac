"""Changes of a record as they happen: for responses that wait, and for server-sent events."""

import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Literal, cast

import redis.asyncio

from unitrank_schemas.base import Json
from unitrank_store.jobs.record import ENDED
from unitrank_store.redis import keyspace
from unitrank_store.redis.decoding import text

START = "0-0"
"""The position before a stream's first event."""
BLOCK_SECONDS = 10.0
"""Maximum seconds that one read blocks. A deleted or expired record is noticed after this time."""


@dataclass(frozen=True)
class Event:
    """One change of a record.

    `id`: the event's position in the stream; `follow` continues after it. Ids sort by time.
    `data`: the new status and its attempt, or the progress.
    """

    id: str
    kind: Literal["status", "progress"]
    data: Json


async def follow(
    connection: redis.asyncio.Redis,
    id: str,
    after: str = START,
    *,
    kind: str = "job",
    block_seconds: float = BLOCK_SECONDS,
) -> AsyncIterator[Event | None]:
    """Yield the events after `after`: first the past ones, then each new one until the record ends.

    Yields None when no event arrives within `block_seconds`. Ends also when the record is deleted
    or expires. Each follower holds one connection while it waits.
    """
    while True:
        events = await _read(connection, keyspace.events(kind, id), after, block_seconds)
        for event in events:
            yield event
            after = event.id
            if _is_end(event):
                return
        if not events:
            if not await connection.exists(keyspace.record(kind, id)):
                return
            yield None


async def wait_until_ended(
    connection: redis.asyncio.Redis, id: str, seconds: float, *, kind: str = "job", tenant: str | None = None
) -> bool:
    """Wait at most `seconds` for a record's end; return whether it has ended or does not exist.

    `tenant`: the wait is over at once for a record of another tenant. None: of every tenant.
    """
    deadline = time.monotonic() + seconds
    # The newest event is read before the status: an end between the two reads is a later event.
    async with connection.pipeline(transaction=False) as pipeline:
        pipeline.xrevrange(keyspace.events(kind, id), count=1)
        pipeline.hmget(keyspace.record(kind, id), "status", "tenant")
        newest, stored = await pipeline.execute()
    status, owner = (value and text(value) for value in stored)
    if status is None or status in ENDED or tenant not in (None, owner):
        return True
    after = newest[0][0].decode() if newest else START
    # Each read ends by its own timeout. When a task's cancellation ended the reads, 43 of 150
    # concurrent waits never returned.
    while (remaining := deadline - time.monotonic()) > 0:
        events = await _read(connection, keyspace.events(kind, id), after, min(remaining, BLOCK_SECONDS))
        if any(_is_end(event) for event in events):
            return True
        if events:
            after = events[-1].id
        elif not await connection.exists(keyspace.record(kind, id)):
            return True
    return False


async def _read(connection: redis.asyncio.Redis, stream: str, after: str, seconds: float) -> list[Event]:
    block = max(1, int(seconds * 1000))
    # cast: redis-py types the reply as a union
    reply = cast(Any, await connection.xread({stream: after}, block=block, count=200))
    if not reply:
        return []
    # The reply of RESP 3 is a map of streams, that of RESP 2 a list of pairs.
    entries = next(iter(reply.values()))[0] if isinstance(reply, dict) else reply[0][1]
    return [
        Event(id.decode(), "progress" if fields[b"kind"] == b"progress" else "status", json.loads(fields[b"data"]))
        for id, fields in entries
    ]


def _is_end(event: Event) -> bool:
    return event.kind == "status" and event.data.get("status") in ENDED
