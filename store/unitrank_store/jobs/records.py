"""How records lie in Redis: a hash each, changed by compare-and-set only, and a stream of what has changed."""

import json
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple, TypeVar, get_args

import redis
import structlog

from unitrank_schemas.base import Json
from unitrank_store.jobs.record import ENDED, LIVE, JobRecord, Status, decode, encode
from unitrank_store.redis import keyspace
from unitrank_store.redis.decoding import text, texts
from unitrank_store.redis.scripts import LuaScript

log = structlog.get_logger()

Kind = Literal["job", "inspection"]
KINDS: tuple[Kind, ...] = get_args(Kind)
T = TypeVar("T")
BEGUN: tuple[Status, ...] = ("running", "cancelling")
AT_ONCE = 1000
_CHANGE = LuaScript("unitrank_store.jobs", "change_record.lua")
_RELEASE = LuaScript("unitrank_store.jobs", "release_waiting.lua")


class RecordState(NamedTuple):
    """What decides who may do what. `waiting_for`: what must become ready first."""

    status: Status
    attempt: int
    worker: str | None
    version: int
    waiting_for: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class RecordChange:
    """What is to become of a record that is in one of the statuses `expected`, with that `attempt` unless it is None.

    `status`: the new one, None where it stays. `seconds`: after which the record goes, for one that ends.
    """

    expected: Sequence[Status]
    attempt: int | None = None
    status: Status | None = None
    fields: Json
    seconds: int | None = None
    progress: Json | None = None


class ChangeOutcome(NamedTuple):
    """Whether the change was made, and what the record was before; no status where there is no record."""

    made: bool
    status: str
    attempt: int | None


class RecordTable:
    """Records of one kind."""

    def __init__(self, connection: redis.Redis, kind: Kind) -> None:
        self.kind = kind
        self._redis = connection

    def add(self, record: JobRecord, pipeline: redis.client.Pipeline) -> None:
        """Write a new record; adding it twice is adding it once."""
        pipeline.delete(self.key(record.id), keyspace.events(self.kind, record.id))
        pipeline.hset(self.key(record.id), mapping=encode(asdict(record)))
        pipeline.sadd(keyspace.live_records(self.kind), record.id)
        pipeline.sadd(keyspace.records_of_owner(self.kind, record.owner), record.id)
        for digest in record.needs:
            pipeline.sadd(keyspace.pins(digest), record.id)
        for what in record.waiting_for:
            pipeline.sadd(keyspace.waiting(what), record.id)
        pipeline.xadd(keyspace.events(self.kind, record.id), {"kind": "status", "data": _event("queued", 0)})

    def read(self, ids: Sequence[str]) -> list[JobRecord]:
        """Those of the records that exist, in the order asked."""
        with self._redis.pipeline(transaction=False) as pipeline:
            for id in ids:
                pipeline.hgetall(self.key(id))
            replies = pipeline.execute(raise_on_error=False)
        return [record for id, stored in zip(ids, replies, strict=True) if (record := _ours(decode, stored, id))]

    def sizes(self, ids: Sequence[str]) -> list[int]:
        """Bytes of their requests; 0 where there is none."""
        with self._redis.pipeline(transaction=False) as pipeline:
            for id in ids:
                pipeline.hstrlen(self.key(id), "request")
            replies = pipeline.execute(raise_on_error=False)
        return [size if isinstance(size, int) else 0 for size in replies]

    def glance(self, ids: Sequence[str]) -> dict[str, RecordState]:
        """The states of those that exist."""
        with self._redis.pipeline(transaction=False) as pipeline:
            for id in ids:
                pipeline.hmget(self.key(id), "status", "attempt", "worker", "version", "waiting_for")
            replies = pipeline.execute(raise_on_error=False)
        return {id: state for id, stored in zip(ids, replies, strict=True) if (state := _ours(_state, stored, id))}

    def live(self, besides: Collection[str] = ()) -> dict[str, RecordState]:
        """The states of all that has not ended, the oldest first; of those `besides` only what has begun."""
        with self._redis.pipeline() as pipeline:
            pipeline.smembers(keyspace.live_records(self.kind))
            for status in BEGUN:
                pipeline.zrange(keyspace.records_by_status(self.kind, status), 0, -1)
            live, *begun = (set(texts(ids)) for ids in pipeline.execute())
        ids = sorted(live.difference(besides).union(*begun))
        # One after the other: a hundred thousand at once are seconds in which nothing else of this process goes on.
        rounds = (self.glance(ids[start : start + AT_ONCE]) for start in range(0, len(ids), AT_ONCE))
        return {id: state for states in rounds for id, state in states.items()}

    def change(self, id: str, change: RecordChange) -> ChangeOutcome:
        """Make the change if the record is as expected."""
        by_status = keyspace.records_by_status(self.kind, "")
        accepted, status, attempt = _CHANGE(
            self._redis,
            [
                self.key(id),
                keyspace.events(self.kind, id),
                keyspace.live_records(self.kind),
                by_status + (change.status or ""),
                keyspace.deliveries(self.kind, id),
                keyspace.owners_with_due(),
                keyspace.reservations(),
            ],
            id=id,
            expected=change.expected,
            attempt=None if change.attempt is None else str(change.attempt),
            status=change.status,
            fields=encode(change.fields),
            seconds=change.seconds,
            event=_event_of(change),
            prefixes={
                "by_status": by_status,
                "pins": keyspace.pins(""),
                "tenants": keyspace.tenants(self.kind),
                "owners": keyspace.records_of_owner(self.kind, ""),
                "due": keyspace.due(""),
            },
        )
        return ChangeOutcome(bool(accepted), text(status), int(attempt) if attempt else None)

    def release(self, what: str) -> list[JobRecord]:
        """All that waited for this; those that wait for nothing else now say so."""
        prefixes = {"record": keyspace.record(self.kind, ""), "waiting": keyspace.waiting("")}
        return self.read(sorted(texts(_RELEASE(self._redis, [keyspace.waiting(what)], prefixes=prefixes))))

    def key(self, id: str) -> str:
        """Of the record's hash."""
        return keyspace.record(self.kind, id)


def _event_of(change: RecordChange) -> dict[str, str]:
    """What the change adds to the record's stream."""
    if change.progress is not None:
        return {"kind": "progress", "data": json.dumps(change.progress)}
    return {"kind": "status", "data": _event(change.status or "", change.fields.get("attempt", change.attempt or 0))}


def _event(status: str, attempt: int) -> str:
    return json.dumps({"status": status, "attempt": attempt, "at": time.time()})


def _ours(read: Callable[[Any], T], stored: Any, id: str) -> T | None:
    """What was read; None where there is nothing, or what `add` never wrote: one forged record must not hide all others."""
    if isinstance(stored, redis.exceptions.ConnectionError | redis.exceptions.TimeoutError):
        raise stored
    if not stored:
        return None
    try:
        return read(stored)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        log.warning("not a record", id=id[:64], error=str(error)[:200])
        return None


def _state(stored: Sequence[bytes | None]) -> RecordState | None:
    if stored[0] is None:
        return None
    attempt, worker, version, waiting = (json.loads(value or b"") for value in stored[1:])
    status = stored[0].decode()
    if status not in (*LIVE, *ENDED) or not isinstance(attempt, int) or not isinstance(worker, str | None):
        raise ValueError(f"a record of status {status!r}")
    if not isinstance(waiting, list) or not all(isinstance(what, str) for what in waiting):
        raise ValueError(f"a record that waits for {waiting!r:.200}")
    return RecordState(status, attempt, worker, version, tuple(waiting))
