"""What happens to a record, as it happens: for answers that wait and for server-sent events."""

import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Literal, cast

import redis.asyncio

from unitrank_schemas.base import Json
from unitrank_store.jobs.record import ENDED
from unitrank_store.redis import keyspace

START = "0-0"
# How long one read blocks at most: a record that is deleted or expires is noticed after so many seconds.
BLOCK_SECONDS = 10.0


@dataclass(frozen=True)
class Event:
    """One change; `id` sorts by time and resumes the stream after it."""

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
    """Events after that one, the past first, to the event of the end; None where nothing happened for a while.

    Ends too where the record is gone. Each follower holds a connection while it waits.
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


async def wait_until_ended(connection: redis.asyncio.Redis, id: str, seconds: float, *, kind: str = "job") -> bool:
    """Whether the record has ended (or is gone) within so many seconds."""
    deadline = time.monotonic() + seconds
    # The stream's end is read before the status: an end that falls between the two is then still ahead in the stream.
    after = await _last(connection, id, kind)
    status = await _status(connection, id, kind)
    if status is None or status in ENDED:
        return True
    # Each read has its own end. Cancelled instead, with 150 waiting at once, 43 were seen to wait on for ever.
    while (left := deadline - time.monotonic()) > 0:
        events = await _read(connection, keyspace.events(kind, id), after, min(left, BLOCK_SECONDS))
        if any(_is_end(event) for event in events):
            return True
        if events:
            after = events[-1].id
        elif not await connection.exists(keyspace.record(kind, id)):
            return True
    return False


async def _status(connection: redis.asyncio.Redis, id: str, kind: str) -> str | None:
    stored = await connection.hget(keyspace.record(kind, id), "status")
    return stored.decode() if isinstance(stored, bytes) else None


async def _last(connection: redis.asyncio.Redis, id: str, kind: str) -> str:
    newest = cast(list[Any], await connection.xrevrange(keyspace.events(kind, id), count=1))  # redis-py types it as a union
    return newest[0][0].decode() if newest else START


async def _read(connection: redis.asyncio.Redis, stream: str, after: str, seconds: float) -> list[Event]:
    block = max(1, int(seconds * 1000))
    reply = cast(Any, await connection.xread({stream: after}, block=block, count=200))  # redis-py types it as a union
    if not reply:
        return []
    # RESP 3 answers with a map of streams, RESP 2 with pairs
    entries = next(iter(reply.values()))[0] if isinstance(reply, dict) else reply[0][1]
    return [
        Event(id.decode(), "progress" if fields[b"kind"] == b"progress" else "status", json.loads(fields[b"data"]))
        for id, fields in entries
    ]


def _is_end(event: Event) -> bool:
    return event.kind == "status" and event.data.get("status") in ENDED
