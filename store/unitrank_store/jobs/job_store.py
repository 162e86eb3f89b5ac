"""The jobs and inspections of one store: new records, lists of them, and records that wait for a model or a dataset."""

import time
from collections.abc import Callable, Collection, Sequence
from functools import cached_property
from typing import Literal

from redis.client import Pipeline

from unitrank_schemas.base import Json
from unitrank_store.errors import StateConflict
from unitrank_store.jobs.ids import new_id
from unitrank_store.jobs.indexes import RecordIndexes
from unitrank_store.jobs.record import DEFAULT_TENANT, ENDED, JobRecord, Status
from unitrank_store.jobs.records import RecordChange, RecordState
from unitrank_store.jobs.reservations import reserve
from unitrank_store.jobs.states import JobStates
from unitrank_store.redis import keyspace
from unitrank_store.redis.claims import Claim, take
from unitrank_store.redis.decoding import texts

# `JobStore.list` takes the name of the built-in inside the class.
Records = list[JobRecord]


class JobStore(JobStates):
    """Records of one kind: `job`, or `inspection` (of a model, with the digest's hex as id)."""

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
        """A queued record, of the key `owner`.

        `needs`: digests of contents that stay until the job has ended. `waiting_for`: models and datasets that must become
        ready first (see `release`; look once more whether they have become ready meanwhile). `reserves`: bytes that its
        result will take in the store. `also`: queues further commands of the same step.
        Raises Taken, and nothing is written, where another process has one of the claims.
        """
        record = JobRecord.queued(
            id=id or new_id(),
            created_at=time.time(),
            request=request,
            resolved=resolved or {},
            needs=needs,
            waiting_for=waiting_for,
            owner=owner,
            tenant=self.tenant or DEFAULT_TENANT,
        )

        def add(pipeline: Pipeline) -> None:
            take(claims, pipeline)
            self._records.add(record, pipeline)
            reserve(pipeline, record.id, reserves)
            self._indexes.add(record, pipeline)
            if also is not None:
                also(pipeline)

        self._redis.transaction(add, *(claim.key for claim in claims))
        return record

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
        return self._indexes.page(self.tenant or DEFAULT_TENANT, limit=limit, after=after, status=status, model=model)

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

    def repoint(self, id: str, what: Literal["model", "dataset"], *, key: str, digest: str, wait_for: str | None = None) -> None:
        """Have a queued job that waited for a content under `key`, which had no digest, mean the digest.

        `wait_for`: what the job has to wait for instead. Only one process at a time may do this to a job.
        """
        record = next(iter(self.get_many([id])), None)
        if record is None:
            return
        resolved = record.resolved | {what: record.resolved[what] | {"digest": digest}}
        needs = [digest if need == key else need for need in record.needs]
        waiting_for = [*record.waiting_for, *([wait_for] if wait_for else [])]
        fields = {"resolved": resolved, "needs": needs, "waiting_for": waiting_for}
        self._redis.sadd(keyspace.pins(digest), id)
        if wait_for:
            self._redis.sadd(keyspace.waiting(wait_for), id)
        change = RecordChange(expected=["queued"], status="queued", fields=fields)
        if not self._records.change(id, change).made and self._ended(id):
            self._redis.srem(keyspace.pins(digest), id)
        self._redis.srem(keyspace.pins(key), id)

    def _ended(self, id: str) -> bool:
        state = self.state(id)
        return state is None or state.status in ENDED

    def forget_expired(self, oldest: int = 200) -> int:
        """Take ids whose record has expired out of the lists, among so many of the oldest; how many there were."""
        return self._indexes.forget_expired(oldest)

    @cached_property
    def _indexes(self) -> RecordIndexes:
        return RecordIndexes(self._redis, self._records)
