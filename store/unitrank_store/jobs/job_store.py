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
import time
from collections.abc import Callable, Collection, Sequence
from typing import Literal

import redis
from redis.client import Pipeline

from unitrank_schemas.base import Json
from unitrank_store.errors import RecordNotFound, StateConflict
from unitrank_store.jobs.ids import new_id
from unitrank_store.jobs.indexes import RecordIndexes
from unitrank_store.jobs.record import ENDED, JobRecord, Status
from unitrank_store.jobs.records import Kind, RecordChange, RecordState, RecordTable
from unitrank_store.jobs.reservations import reserve
from unitrank_store.redis import keyspace
from unitrank_store.redis.claims import Claim, take
from unitrank_store.redis.decoding import texts

RESULT_TTL = 24 * 3600
FAILURE_TTL = 7 * 24 * 3600
LOSSES_ALLOWED = 1
DEFAULT_TENANT = "default"

Written = Literal["written", "cancel", "fenced"]
# `JobStore.list` takes the name of the built-in inside the class.
Records = list[JobRecord]

WORKER_LOST: Json = {
    "code": "worker_lost",
    "title": "The worker was lost",
    "detail": "two processes in a row ended while they ran this; it is not tried again",
    "status": 500,
    "retryable": True,
}


class JobStore:
    """Records of one kind: `job`, or `inspection` (of a model, with the digest's hex as id)."""

    def __init__(
        self,
        connection: redis.Redis,
        result_ttl: int = RESULT_TTL,
        failure_ttl: int = FAILURE_TTL,
        kind: Kind = "job",
        tenant: str | None = None,
    ) -> None:
        """`tenant`: whose records there are; None: everyone's, for those that work on them."""
        self.kind = kind
        self.tenant = tenant
        self.result_ttl = result_ttl
        self.failure_ttl = failure_ttl
        self._redis = connection
        self._records = RecordTable(connection, kind)
        self._indexes = RecordIndexes(connection, self._records)

    def create(
        self,
        request: Json,
        resolved: Json | None = None,
        *,
        id: str | None = None,
        needs: Sequence[str] = (),
        waiting_for: Sequence[str] = (),
        claims: Sequence[Claim] = (),
        owner: str = "",
        reserves: int = 0,
        also: Callable[[Pipeline], None] | None = None,
    ) -> JobRecord:
        """A queued record, of the key `owner`. `needs`: digests of contents that stay until the job has ended.
        `waiting_for`: what must become ready first (see `release`; look once more whether it has become ready meanwhile).
        `reserves`: bytes that its result will take in the store. `also`: queues what is written in the same step.

        Raises Taken, and nothing is made, where one of the claims cannot be had.
        """
        whose = owner, self.tenant or DEFAULT_TENANT
        record = _new_record(id or new_id(), request, resolved or {}, needs, waiting_for, whose)

        def add(pipeline: Pipeline) -> None:
            take(claims, pipeline)
            self._records.add(record, pipeline)
            reserve(pipeline, record.id, reserves)
            self._indexes.add(record, pipeline)
            if also is not None:
                also(pipeline)

        self._redis.transaction(add, *(claim.key for claim in claims))
        return record

    def get(self, id: str) -> JobRecord:
        """Raises RecordNotFound."""
        found = self.get_many([id])
        if not found or self.tenant not in (None, found[0].tenant):
            raise RecordNotFound(f"no {self.kind} {id!r}")
        return found[0]

    def get_many(self, ids: Sequence[str]) -> Records:
        """Those of the records that exist, in the order asked."""
        return self._records.read(ids)

    def state(self, id: str) -> RecordState | None:
        """A glance at the record, for whoever looks often; None where it is gone."""
        return self._records.glance([id]).get(id)

    def start(self, id: str, worker: str, number: int | None = None) -> int | None:
        """The number of the attempt that begins now; None where the job may not run (cancelled, begun elsewhere).

        `number`: the one that it was put in the queue for; what is left in the queue of a lost attempt does not run.
        """
        try:
            record = self.get(id)
        except RecordNotFound:
            return None
        if number not in (None, record.attempt + 1):
            return None
        fields = {"attempt": record.attempt + 1, "started_at": time.time(), "worker": worker, "progress": None}
        done = self._change(id, ["queued"], record.attempt, "running", fields)
        return record.attempt + 1 if done else None

    def progress(self, id: str, attempt: int, progress: Json) -> Written:
        """Note how far the attempt is: `cancel` where it should stop, `fenced` where it is no longer its job."""
        outcome = self._records.change(id, RecordChange(["running"], attempt, None, {"progress": progress}, progress=progress))
        if outcome.made:
            return "written"
        return "cancel" if outcome.status == "cancelling" and outcome.attempt == attempt else "fenced"

    def finish(
        self,
        id: str,
        attempt: int,
        status: Status,
        *,
        result: Json | None = None,
        problem: Json | None = None,
        progress: Json | None = None,
    ) -> bool:
        """End the attempt; False where it was fenced or had ended. A cancelled job may end in any way: the first wins.

        `progress` is the last there was; without it what is written stays.
        """
        fields = {"result": result, "problem": problem} | ({"progress": progress} if progress else {})
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
        """Queued: cancelled at once. Running: cancelling, its worker then ends it. Ended: nothing. Raises RecordNotFound."""
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
        """Remove an ended record, and hand it out for the last time. Raises RecordNotFound, and StateConflict while it lives."""
        record = self.get(id)
        if not record.ended:
            raise StateConflict(f"the {self.kind} {id} is {record.status}; cancel it first")
        with self._redis.pipeline() as pipeline:
            pipeline.delete(self._records.key(id), keyspace.events(self.kind, id), keyspace.deliveries(self.kind, id))
            self._indexes.remove(record, pipeline)
            pipeline.execute()
        return record

    def list(
        self, limit: int = 50, after: str | None = None, status: Status | None = None, model: str | None = None
    ) -> tuple[Records, str | None]:
        """The tenant's, newest first, and the id to go on after where there are more."""
        return self._indexes.page(self.tenant or DEFAULT_TENANT, limit, after, status, model)

    def live(self, besides: Collection[str] = ()) -> dict[str, RecordState]:
        """A glance at all that has not ended, by id, the oldest first; at those `besides` only where they have begun."""
        return self._records.live(besides)

    def count(self, status: Status) -> int:
        """How many are in that status; ended ones that expired may be counted until they are listed."""
        return self._indexes.count(status)

    def unfinished(self, owner: str) -> int:
        """How many of an owner's have not ended."""
        return int(self._redis.scard(keyspace.records_of_owner(self.kind, owner)))

    def release(self, what: str) -> Records:
        """The queued jobs that waited for this last of all: put each in the queue."""
        waited = self._records.release(what)
        return [record for record in waited if not record.waiting_for and record.status == "queued"]

    def waiting(self, what: str) -> Sequence[str]:
        """The ids of all that waits for this."""
        return texts(self._redis.smembers(keyspace.waiting(what)))

    def repoint(self, id: str, what: str, key: str, digest: str, wait_for: str | None = None) -> None:
        """A queued job that waited for a content without a digest (`what`: `model` or `dataset`) now means the digest.

        `wait_for`: what it has to wait for instead. Only one at a time may do this to a job.
        """
        record = next(iter(self.get_many([id])), None)
        if record is None:
            return
        resolved = record.resolved | {what: record.resolved[what] | {"digest": digest}}
        needs = [digest if each == key else each for each in record.needs]
        waiting_for = [*record.waiting_for, *([wait_for] if wait_for else [])]
        fields = {"resolved": resolved, "needs": needs, "waiting_for": waiting_for}
        self._redis.sadd(keyspace.pins(digest), id)
        if wait_for:
            self._redis.sadd(keyspace.waiting(wait_for), id)
        if not self._records.change(id, RecordChange(["queued"], None, "queued", fields)).made and self._ended(id):
            self._redis.srem(keyspace.pins(digest), id)
        self._redis.srem(keyspace.pins(key), id)

    def _ended(self, id: str) -> bool:
        state = self.state(id)
        return state is None or state.status in ENDED

    def refuse(self, what: str, problem: Json) -> Records:
        """Fail what waited for this."""
        waited = self._records.release(what)
        return [record for record in waited if self._change(record.id, ["queued"], None, "failed", {"problem": problem})]

    def forget_expired(self, oldest: int = 200) -> int:
        """Take ids whose record has expired out of the lists, among so many of the oldest; how many there were."""
        return self._indexes.forget_expired(oldest)

    def _change(self, id: str, expected: Sequence[Status], attempt: int | None, status: Status, fields: Json) -> bool:
        seconds = None
        if status in ENDED:
            now = time.time()
            kept = self.result_ttl if status == "succeeded" else self.failure_ttl
            fields = {**fields, "finished_at": now, "expires_at": now + kept}
            # A record outlives its result, so that its absence can be told from an id that never was.
            seconds = kept + self.failure_ttl if status == "succeeded" else kept
        outcome = self._records.change(id, RecordChange(expected, attempt, status, fields, seconds))
        # The command is sent again when its reply was lost: then it has been done already, by us.
        repeated = status in ENDED and outcome.status == status and attempt is not None and outcome.attempt == attempt
        return outcome.made or repeated


def _new_record(
    id: str, request: Json, resolved: Json, needs: Sequence[str], waiting_for: Sequence[str], whose: tuple[str, str]
) -> JobRecord:
    owner, tenant = whose
    return JobRecord(
        id=id,
        status="queued",
        attempt=0,
        created_at=time.time(),
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
