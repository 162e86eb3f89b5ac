"""Records in Redis. Each is a hash with a stream of changes; each change is a compare-and-set."""

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
from unitrank_store.unavailable import unavailable_reason

log = structlog.get_logger()

Kind = Literal["job", "inspection"]
KINDS: tuple[Kind, ...] = get_args(Kind)
T = TypeVar("T")
BEGUN: tuple[Status, ...] = ("running", "cancelling")
READ_TOGETHER = 1000
"""Number of records whose state is read in one round trip."""
_CHANGE = LuaScript("unitrank_store.jobs", "change_record.lua")
_RELEASE = LuaScript("unitrank_store.jobs", "release_waiting.lua")


class RecordState(NamedTuple):
    """The fields of a record that decide which changes are allowed; see `JobRecord`."""

    status: Status
    attempt: int
    worker: str | None
    version: int
    waiting_for: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class RecordChange:
    """A change of a record, and the state in which the change is allowed.

    `expected`: statuses in which the change is allowed.
    `attempt`: attempt at which the change is allowed; None allows any attempt.
    `status`: the new status; None keeps the status.
    `fields`: the other fields to set.
    `seconds`: seconds until an ended record expires; None for a change that does not end it.
    `area`: the area of the result's best ranking, by which lists sort.
    `progress`: progress to publish as an event; None publishes the status instead.
    """

    expected: Sequence[Status]
    attempt: int | None = None
    status: Status | None = None
    fields: Json
    seconds: int | None = None
    area: float | None = None
    progress: Json | None = None


class ChangeOutcome(NamedTuple):
    """The outcome of a change, and the record's status and attempt before it.

    `changed`: whether the record was in the expected state, so that the change was made.
    `status`: empty if the record does not exist.
    """

    changed: bool
    status: str
    attempt: int | None


class RecordTable:
    """The records of one kind."""

    def __init__(self, connection: redis.Redis, kind: Kind) -> None:
        self.kind = kind
        self._redis = connection

    def add(self, record: JobRecord, pipeline: redis.client.Pipeline) -> None:
        """Queue the commands that write a new record. Repeating them changes nothing."""
        pipeline.delete(self.key(record.id), keyspace.events(self.kind, record.id))
        pipeline.hset(self.key(record.id), mapping=encode(asdict(record)))
        pipeline.sadd(keyspace.live_records(self.kind), record.id)
        pipeline.sadd(keyspace.records_of_owner(self.kind, record.owner), record.id)
        for digest in record.needs:
            pipeline.sadd(keyspace.pins(digest), record.id)
        for content_key in record.waiting_for:
            pipeline.sadd(keyspace.waiting(content_key), record.id)
        pipeline.xadd(keyspace.events(self.kind, record.id), {"kind": "status", "data": _status_event("queued", 0)})

    def read(self, ids: Sequence[str]) -> list[JobRecord]:
        """Return the records that exist, in the order of `ids`."""
        with self._redis.pipeline(transaction=False) as pipeline:
            for id in ids:
                pipeline.hgetall(self.key(id))
            replies = pipeline.execute(raise_on_error=False)
        return [record for id, stored in zip(ids, replies, strict=True) if (record := _decoded(decode, stored, id))]

    def sizes(self, ids: Sequence[str]) -> list[int]:
        """Return the bytes of each record's request; 0 for a record that does not exist."""
        with self._redis.pipeline(transaction=False) as pipeline:
            for id in ids:
                pipeline.hstrlen(self.key(id), "request")
            replies = pipeline.execute(raise_on_error=False)
        return [size if isinstance(size, int) else 0 for size in replies]

    def glance(self, ids: Sequence[str]) -> dict[str, RecordState]:
        """Return the states of the records that exist, by id."""
        with self._redis.pipeline(transaction=False) as pipeline:
            for id in ids:
                pipeline.hmget(self.key(id), "status", "attempt", "worker", "version", "waiting_for")
            replies = pipeline.execute(raise_on_error=False)
        return {id: state for id, stored in zip(ids, replies, strict=True) if (state := _decoded(_state, stored, id))}

    def live(self, unless_queued: Collection[str] = ()) -> dict[str, RecordState]:
        """Return the states of the live records by id, the oldest first.

        `unless_queued`: ids that are left out while their records are queued. They are not read,
        which saves time when the queue is long.
        """
        with self._redis.pipeline() as pipeline:
            pipeline.smembers(keyspace.live_records(self.kind))
            for status in BEGUN:
                pipeline.zrange(keyspace.records_by_status(self.kind, status), 0, -1)
            live, *begun = (set(texts(ids)) for ids in pipeline.execute())
        ids = sorted(live.difference(unless_queued).union(*begun))
        # In rounds: one reply for 100 000 records would block all other threads for seconds.
        rounds = (self.glance(ids[start : start + READ_TOGETHER]) for start in range(0, len(ids), READ_TOGETHER))
        return {id: state for states in rounds for id, state in states.items()}

    def change(self, id: str, change: RecordChange) -> ChangeOutcome:
        """Make the change if the record is in the expected state."""
        return _outcome(self._run(self._redis, id, change))

    def change_and_read(self, id: str, change: RecordChange) -> JobRecord | None:
        """Make the change, and return the record after it; None if the change was not made.

        Both take one round trip, without a transaction: a full store rejects every transaction, but
        not a change that needs no memory.
        """
        with self._redis.pipeline(transaction=False) as pipeline:
            self._run(pipeline, id, change)
            pipeline.hgetall(self.key(id))
            reply, stored = pipeline.execute()
        return _decoded(decode, stored, id) if _outcome(reply).changed else None

    def _run(self, client: redis.Redis, id: str, change: RecordChange) -> Any:
        """Run the script of a change, or queue it on a pipeline. Any: redis-py types no reply."""
        by_status = keyspace.records_by_status(self.kind, "")
        return _CHANGE(
            client,
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
            area=None if change.area is None else repr(change.area),
            event=_event_of(change),
            prefixes={
                "by_status": by_status,
                "pins": keyspace.pins(""),
                "tenants": keyspace.tenants(self.kind),
                "owners": keyspace.records_of_owner(self.kind, ""),
                "due": keyspace.due(""),
            },
        )

    def release(self, content_key: str) -> list[JobRecord]:
        """Release the records that wait for a model or a dataset, and return all of them.

        A record that waits for another content keeps its `waiting_for`. The other records get an
        empty `waiting_for`.
        """
        prefixes = {"record": keyspace.record(self.kind, ""), "waiting": keyspace.waiting("")}
        return self.read(sorted(texts(_RELEASE(self._redis, [keyspace.waiting(content_key)], prefixes=prefixes))))

    def key(self, id: str) -> str:
        """Return the key of the record's hash."""
        return keyspace.record(self.kind, id)


def record_of(stored: Any, id: str) -> JobRecord | None:
    """Return the record that a reply of HGETALL holds; None without one. Any: as redis-py types it.

    Also None if the reply is an error.
    """
    return None if isinstance(stored, Exception) else _decoded(decode, stored, id)


def _outcome(reply: Any) -> ChangeOutcome:
    accepted, status, attempt = reply
    return ChangeOutcome(bool(accepted), text(status), int(attempt) if attempt else None)


def _event_of(change: RecordChange) -> dict[str, str]:
    """Return the entry that the change appends to the record's stream."""
    if change.progress is not None:
        return {"kind": "progress", "data": json.dumps(change.progress)}
    return {"kind": "status", "data": _status_event(change.status or "", change.fields.get("attempt", change.attempt or 0))}


def _status_event(status: str, attempt: int) -> str:
    return json.dumps({"status": status, "attempt": attempt, "at": time.time()})


def _decoded(decoder: Callable[[Any], T], stored: Any, id: str) -> T | None:
    """Return the decoded value.

    Returns None for a record that does not exist, and for a malformed record: a forged record must
    not prevent the reading of the other records. Raises the error of a store that cannot serve.
    """
    if isinstance(stored, Exception) and unavailable_reason(stored):
        raise stored
    if not stored:
        return None
    try:
        return decoder(stored)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        log.warning("not a record", id=id[:64], error=str(error)[:200])
        return None


def _state(stored: Sequence[bytes | None]) -> RecordState | None:
    if stored[0] is None:
        return None
    attempt, worker, version, waiting = (json.loads(value or b"") for value in stored[1:])
    status = stored[0].decode()
    if status not in (*LIVE, *ENDED) or not isinstance(attempt, int) or not isinstance(worker, str | None):
        raise ValueError(f"malformed state: status {status!r}, attempt {attempt!r:.50}, worker {worker!r:.50}")
    if not isinstance(waiting, list) or not all(isinstance(content_key, str) for content_key in waiting):
        raise ValueError(f"waiting_for is {waiting!r:.200}; expected a list of text")
    return RecordState(status, attempt, worker, version, tuple(waiting))
