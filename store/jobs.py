"""The job record, the truth about a job: every change is a compare-and-set, and a late one is refused.

            create                 start                   finish
              │                      │                       │
              ▼                      ▼                ┌──▶ succeeded
           queued ───────────────▶ running ───────────┼──▶ failed
            │  ▲                   │  │               └──▶ timed_out
            │  └──── requeue ──────┘  │ cancel                 ▲
            │  (its process is lost   ▼                        │ finish: done before the cancel was seen
            │     for the first    cancelling ─────────────────┘
     cancel │      time)              │ finish, requeue
            ▼                         ▼
        cancelled ◀───────────────────┘

`start` counts `attempt` up, and whoever runs the job shows that number with each change: a process that was given up
and comes back is *fenced*. A job that loses two processes is `failed` with `worker_lost` and never run a third time.
A queued job fails without having run where what it waits for is refused (`refuse`).
"""

import json
import secrets
import time
from collections.abc import Sequence
from importlib.resources import files
from typing import Any, Literal, NamedTuple, cast

import redis

from store import names
from store.errors import Conflict, NotFound
from store.record import ENDED, JobRecord, Json, Status, decode, encode
from store.replies import texts

RESULT_TTL = 24 * 3600
FAILURE_TTL = 7 * 24 * 3600
LOSSES_ALLOWED = 1

Kind = Literal["job", "inspection"]
Written = Literal["written", "cancel", "fenced"]
# `Jobs.list` takes the name of the built-in inside the class.
Records = list[JobRecord]
Ids = Sequence[str]


class State(NamedTuple):
    """What decides who may do what."""

    status: Status
    attempt: int
    worker: str | None
    version: int
    waits: bool


WORKER_LOST: Json = {
    "code": "worker_lost",
    "title": "The worker was lost",
    "detail": "two processes in a row ended while they ran this; it is not tried again",
    "status": 500,
    "retryable": True,
}


class Jobs:
    """Records of one kind: `job`, or `inspection` (of a model, with the digest's hex as id)."""

    def __init__(
        self,
        connection: redis.Redis,
        result_ttl: int = RESULT_TTL,
        failure_ttl: int = FAILURE_TTL,
        kind: Kind = "job",
    ) -> None:
        self.kind = kind
        self.result_ttl = result_ttl
        self.failure_ttl = failure_ttl
        self._redis = connection
        self._script = connection.register_script(files("store").joinpath("change_record.lua").read_text())

    def create(
        self,
        request: Json,
        resolved: Json | None = None,
        *,
        id: str | None = None,
        needs: Sequence[str] = (),
        waiting_for: Sequence[str] = (),
    ) -> JobRecord:
        """A queued record. `needs`: digests that `pinned` holds until the job has ended; `waiting_for`: what must
        become ready first (see `release`; look once more whether it has become ready meanwhile)."""
        record = _new_record(id or new_id(), request, resolved or {}, needs, waiting_for)
        with self._redis.pipeline() as pipeline:
            pipeline.delete(self._key(record.id), names.events(self.kind, record.id))
            pipeline.hset(self._key(record.id), mapping=encode(vars(record)))
            pipeline.sadd(names.live_records(self.kind), record.id)
            for index in self._indices(record):
                pipeline.zadd(index, {record.id: 0})
            if model := _model_name(record):
                pipeline.sadd(names.models_of_records(self.kind), model)
            for digest in needs:
                pipeline.hincrby(names.pins(), digest, 1)
            for what in waiting_for:
                pipeline.sadd(names.waiting(what), record.id)
            pipeline.xadd(names.events(self.kind, record.id), {"kind": "status", "data": _event("queued", 0)})
            pipeline.execute()
        return record

    def get(self, id: str) -> JobRecord:
        """Raises NotFound."""
        found = self.get_many([id])
        if not found:
            raise NotFound(f"no {self.kind} {id!r}")
        return found[0]

    def get_many(self, ids: Sequence[str]) -> Records:
        """Those of the records that exist, in the order asked."""
        with self._redis.pipeline(transaction=False) as pipeline:
            for id in ids:
                pipeline.hgetall(self._key(id))
            return [decode(stored) for stored in pipeline.execute() if stored]

    def state(self, id: str) -> State | None:
        """A glance at the record, for whoever looks often; None where it is gone."""
        return self._states([id]).get(id)

    def start(self, id: str, worker: str) -> int | None:
        """The number of the attempt that begins now; None where the job may not run (cancelled, begun elsewhere)."""
        try:
            record = self.get(id)
        except NotFound:
            return None
        fields = {"attempt": record.attempt + 1, "started_at": time.time(), "worker": worker, "progress": None}
        done = self._change(id, ["queued"], record.attempt, "running", fields)
        return record.attempt + 1 if done else None

    def progress(self, id: str, attempt: int, progress: Json) -> Written:
        """Note how far the attempt is: `cancel` where it should stop, `fenced` where it is no longer its job."""
        reply = self._call(id, ["running"], attempt, "", {"progress": progress}, None, "progress", json.dumps(progress))
        if reply[0]:
            return "written"
        return "cancel" if reply[1] == "cancelling" and reply[2] == attempt else "fenced"

    def finish(self, id: str, attempt: int, status: Status, *, result: Json | None = None, problem: Json | None = None) -> bool:
        """End the attempt; False where it was fenced or had ended. A cancelled job may end in any way: the first wins."""
        fields = {"result": result, "problem": problem}
        return self._change(id, ["running", "cancelling"], attempt, status, fields)

    def requeue(self, id: str, attempt: int, *, lost: bool = True) -> JobRecord:
        """Give up an attempt; the record then is queued, failed or cancelled, or was not ours.

        Not `lost`: its process was stopped on purpose, which does not count against the job.
        """
        record = self.get(id)
        losses = record.losses + lost
        if losses <= LOSSES_ALLOWED:
            again = {"losses": losses, "worker": None, "started_at": None, "progress": None}
            self._change(id, ["running"], attempt, "queued", again)
        else:
            self._change(id, ["running"], attempt, "failed", {"losses": losses, "problem": WORKER_LOST})
        self._change(id, ["cancelling"], attempt, "cancelled", {"losses": losses})
        return self.get(id)

    def cancel(self, id: str) -> JobRecord:
        """Queued: cancelled at once. Running: cancelling, its worker then ends it. Ended: nothing. Raises NotFound."""
        asked = {"cancel_requested": True}
        # A job that begins, or is put back, between the two is met in the next round.
        while not self.get(id).cancel_requested:
            if self._change(id, ["queued"], None, "cancelled", asked):
                break
            if self._change(id, ["running"], None, "cancelling", asked):
                break
            if self.get(id).ended:
                break
        return self.get(id)

    def delete(self, id: str) -> JobRecord:
        """Remove an ended record, and hand it out for the last time. Raises NotFound, and Conflict while it lives."""
        record = self.get(id)
        if not record.ended:
            raise Conflict(f"the {self.kind} {id} is {record.status}; cancel it first")
        with self._redis.pipeline() as pipeline:
            pipeline.delete(self._key(id), names.events(self.kind, id))
            for index in self._indices(record):
                pipeline.zrem(index, id)
            pipeline.execute()
        return record

    def list(
        self, limit: int = 50, after: str | None = None, status: Status | None = None, model: str | None = None
    ) -> tuple[Records, str | None]:
        """Newest first, and the id to go on after where there are more."""
        index = self._index_for(status, model)
        found: Records = []
        while len(found) <= limit:
            ids = self._ids_below(index, after, limit + 1)
            if not ids:
                break
            records = self.get_many(ids)
            self._forget(index, set(ids) - {record.id for record in records})
            found += [record for record in records if _matches(record, status, model)]
            after = ids[-1]
        return found[:limit], found[limit - 1].id if len(found) > limit else None

    def live(self) -> dict[str, State]:
        """A glance at all that has not ended, by id, the oldest first."""
        return self._states(sorted(texts(self._redis.smembers(names.live_records(self.kind)))))

    def count(self, status: Status) -> int:
        """How many are in that status; ended ones that expired may be counted until they are listed."""
        return int(self._redis.zcard(names.records_by_status(self.kind, status)))

    def pinned(self, digest: str) -> bool:
        """Whether something that has not ended needs that content."""
        return bool(self._redis.hexists(names.pins(), digest))

    def release(self, what: str) -> Records:
        """The queued jobs that waited for this last of all: put each in the queue."""
        return [record for record in self._arrived(what) if not record.waiting_for and record.status == "queued"]

    def refuse(self, what: str, problem: Json) -> Records:
        """Fail what waited for this."""
        waited = self._arrived(what)
        return [record for record in waited if self._change(record.id, ["queued"], None, "failed", {"problem": problem})]

    def forget_expired(self, oldest: int = 200) -> int:
        """Take ids whose record has expired out of the indices, among so many of the oldest; how many there were."""
        by_status = [names.records_by_status(self.kind, status) for status in ENDED]
        models = texts(self._redis.smembers(names.models_of_records(self.kind)))
        by_model = [names.records_by_model(self.kind, model) for model in models]
        gone: set[str] = set()
        for index in (*by_status, *by_model):
            expired = self._expired(texts(self._redis.zrange(index, 0, oldest - 1)))
            self._forget(index, expired)
            gone |= expired
        return len(gone)

    def _expired(self, ids: Ids) -> set[str]:
        with self._redis.pipeline(transaction=False) as pipeline:
            for id in ids:
                pipeline.exists(self._key(id))
            return {id for id, exists in zip(ids, pipeline.execute(), strict=True) if not exists}

    def _states(self, ids: Ids) -> dict[str, State]:
        with self._redis.pipeline(transaction=False) as pipeline:
            for id in ids:
                pipeline.hmget(self._key(id), "status", "attempt", "worker", "version", "waiting_for")
            replies = pipeline.execute()
        found = {}
        for id, (status, *others) in zip(ids, replies, strict=True):
            if status is not None:
                attempt, worker, version, waiting = (json.loads(value) for value in others)
                found[id] = State(status.decode(), attempt, worker, version, bool(waiting))
        return found

    def _arrived(self, what: str) -> Records:
        ids = sorted(texts(self._redis.smembers(names.waiting(what))))
        for record in self.get_many(ids):
            left = [other for other in record.waiting_for if other != what]
            self._change(record.id, ["queued"], None, "", {"waiting_for": left})
        if ids:
            self._redis.srem(names.waiting(what), *ids)
        return self.get_many(ids)

    def _change(self, id: str, expected: Sequence[Status], attempt: int | None, status: Status | Literal[""], fields: Json) -> bool:
        fields = dict(fields)
        seconds = None
        if status in ENDED:
            now = time.time()
            kept = self.result_ttl if status == "succeeded" else self.failure_ttl
            fields |= {"finished_at": now, "expires_at": now + kept}
            # A record outlives its result, so that its absence can be told from an id that never was.
            seconds = kept + self.failure_ttl if status == "succeeded" else kept
        event = _event(status, int(fields.get("attempt", attempt or 0)))
        ok, before, held = self._call(id, expected, attempt, status, fields, seconds, "status", event)
        # The command is sent again when its reply was lost: then it has been done already, by us.
        return bool(ok) or (status in ENDED and before == status and attempt is not None and held == attempt)

    def _call(
        self,
        id: str,
        expected: Sequence[Status],
        attempt: int | None,
        status: Status | Literal[""],
        fields: Json,
        seconds: int | None,
        kind: str,
        event: str,
    ) -> tuple[int, str, int | None]:
        by_status = names.records_by_status(self.kind, "")
        reply = self._script(
            keys=[
                self._key(id),
                names.events(self.kind, id),
                names.live_records(self.kind),
                names.pins(),
                by_status + status,
            ],
            args=[
                id,
                json.dumps(list(expected)),
                "" if attempt is None else attempt,
                status,
                json.dumps(encode(fields)),
                "" if seconds is None else seconds,
                by_status,
                kind,
                event,
            ],
        )
        ok, before, held = cast(list[Any], reply)  # redis-py types no script's reply
        return int(ok), before.decode(), int(held) if held else None

    def _key(self, id: str) -> str:
        return names.record(self.kind, id)

    def _indices(self, record: JobRecord) -> Ids:
        indices = [names.all_records(self.kind), names.records_by_status(self.kind, record.status)]
        model = _model_name(record)
        return [*indices, names.records_by_model(self.kind, model)] if model else indices

    def _index_for(self, status: Status | None, model: str | None) -> str:
        if status is not None:
            return names.records_by_status(self.kind, status)
        return names.records_by_model(self.kind, model) if model is not None else names.all_records(self.kind)

    def _ids_below(self, index: str, after: str | None, limit: int) -> Ids:
        return texts(self._redis.zrevrangebylex(index, f"({after}" if after else "+", "-", 0, limit))

    def _forget(self, index: str, ids: set[str]) -> None:
        if ids:
            self._redis.zrem(index, *ids)
            self._redis.zrem(names.all_records(self.kind), *ids)


def new_id() -> str:
    """26 characters of Crockford's base 32: 48 bits of milliseconds and 80 random ones, so that ids sort by time."""
    number = (time.time_ns() // 1_000_000) << 80 | secrets.randbits(80)
    return "".join("0123456789abcdefghjkmnpqrstvwxyz"[number >> shift & 31] for shift in range(125, -1, -5))


def _new_record(id: str, request: Json, resolved: Json, needs: Sequence[str], waiting_for: Sequence[str]) -> JobRecord:
    return JobRecord(
        id=id,
        status="queued",
        attempt=0,
        created_at=time.time(),
        started_at=None,
        finished_at=None,
        expires_at=None,
        request=request,
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
    )


def _event(status: str, attempt: int) -> str:
    return json.dumps({"status": status, "attempt": attempt, "at": time.time()})


def _model_name(record: JobRecord) -> str | None:
    model = record.request.get("model")
    return model.partition("@")[0] if isinstance(model, str) else None


def _matches(record: JobRecord, status: Status | None, model: str | None) -> bool:
    return status in (None, record.status) and model in (None, _model_name(record))
