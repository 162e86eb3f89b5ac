"""The jobs and inspections of one store: create, list, delete and release records."""

import json
import time
from collections.abc import Callable, Collection, Sequence
from functools import cached_property
from typing import Literal

from redis.client import Pipeline

from unitrank_schemas.base import Json
from unitrank_store.errors import StateConflict
from unitrank_store.jobs.ids import new_id
from unitrank_store.jobs.indexes import RecordIndexes
from unitrank_store.jobs.listing.edits import edit_request
from unitrank_store.jobs.listing.job_filter import JobFilter
from unitrank_store.jobs.listing.lines import JobLine, read_lines
from unitrank_store.jobs.listing.listing import listing_of, words_of
from unitrank_store.jobs.record import DEFAULT_TENANT, ENDED, JobRecord, Status
from unitrank_store.jobs.records import RecordChange, RecordState
from unitrank_store.jobs.reservations import Demand, demand, reserve
from unitrank_store.jobs.states import JobStates
from unitrank_store.redis import keyspace
from unitrank_store.redis.claims import Claim, take
from unitrank_store.redis.decoding import texts

# Inside the class `JobStore`, the name `list` means its method.
Records = list[JobRecord]
Lines = list[JobLine]


class JobStore(JobStates):
    """The records of one kind. It creates, lists, deletes and releases records.

    A record waits for models and datasets by their content keys; see `contents.waiting_jobs`.
    """

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
        submitted_by: str = "",
        also: Callable[[Pipeline, JobRecord], None] | None = None,
    ) -> JobRecord:
        """Create a queued record in one transaction.

        `request`: the client's request. `resolved`: values that the service derived from it.
        `id`: the record's id; by default a new one.
        `needs`: digests of contents that must stay until the job has ended.
        `waiting_for`: content keys of models and datasets that must become ready first. One of them
        may become ready just before the record is written: check them once more after `create`.
        `claims`: Redis keys that are written in the same transaction.
        `owner`: id of the API key that the job counts for.
        `reserves`: bytes that the result will take in the store.
        `submitted_by`: name of that key.
        `also`: gets the new record, and queues further commands of the same transaction.
        Raises Taken, and writes nothing, if a claim fails.
        """
        id = id or new_id()
        record = JobRecord.queued(
            id=id,
            created_at=time.time(),
            request=request,
            resolved=resolved or {},
            needs=needs,
            waiting_for=waiting_for,
            owner=owner,
            tenant=self.tenant or DEFAULT_TENANT,
            submitted_by=submitted_by if self.kind == "job" else None,
        )

        def add(pipeline: Pipeline) -> None:
            take(claims, pipeline)
            self._records.add(record, pipeline)
            reserve(pipeline, record.id, reserves)
            self._indexes.add(record, pipeline)
            if also is not None:
                also(pipeline, record)

        self._redis.transaction(add, *(claim.key for claim in claims))
        return record

    def delete(self, id: str) -> JobRecord:
        """Delete an ended record and return it.

        Raises RecordNotFound, and StateConflict for a record that has not ended.
        """
        record = self.get(id)
        if not record.ended:
            raise StateConflict(f"the {self.kind} {id} is {record.status}; cancel it first")
        with self._redis.pipeline() as pipeline:
            pipeline.delete(self._records.key(id), keyspace.events(self.kind, id), keyspace.deliveries(self.kind, id))
            self._indexes.remove(record, pipeline)
            pipeline.execute()
        return record

    def list(
        self,
        limit: int = 50,
        after: str | None = None,
        status: Status | None = None,
        model: str | None = None,
        *,
        filter: JobFilter | None = None,
    ) -> tuple[Records, str | None]:
        """Return the tenant's newest records, and the cursor of the next page.

        The cursor is None on the last page. `after`: the cursor that the previous page returned.
        `status`, `model`: list only records in this status, or of the model with this name.
        `filter`: takes the place of `status` and `model`.
        """
        filter = filter or JobFilter(status=status, model=model)
        return self._indexes.page(self.tenant or DEFAULT_TENANT, filter, limit=limit, after=after)

    def lines(self, limit: int, after: str | None, filter: JobFilter) -> tuple[Lines, str | None]:
        """Return jobs as `list` does, without their requests, which may contain datasets."""
        hits, cursor = self._indexes.hits(self.tenant or DEFAULT_TENANT, filter, limit=limit, after=after)
        return read_lines(self._redis, self.kind, [hit.id for hit in hits]), cursor

    def edit_metadata(self, id: str, edit: Callable[[Json], Json]) -> JobRecord:
        """Change the metadata of a job's request, and return the record.

        `edit`: returns the new metadata for the present ones. It is called again if another process
        changed them meanwhile.
        Raises RecordNotFound.
        """
        while True:
            record = self.get(id)
            request = record.request | {"metadata": edit(record.request.get("metadata") or {})}
            listing = listing_of(request, (record.listing or {}).get("submitted_by", ""))
            fields = {"request_text": json.dumps(request), "listing": listing, "words": words_of(id, listing)}
            if edit_request(self._redis, self._records.key(id), record.request_text, fields) == "edited":
                return self.get(id)

    def live(self, unless_queued: Collection[str] = ()) -> dict[str, RecordState]:
        """Return the states of the live records by id, the oldest first.

        `unless_queued`: ids that are left out while their records are queued.
        """
        return self._records.live(unless_queued)

    def count(self, status: Status) -> int:
        """Return the number of records in a status; it may include records that have expired."""
        return self._indexes.count(status)

    def demand(self, owner: str) -> Demand:
        """Return how many records wait, how many of an owner are unfinished, and reserved bytes."""
        return demand(self._redis, self.kind, owner)

    def release(self, content_key: str) -> Records:
        """A model or a dataset is ready: release the records that wait for it.

        Returns the `queued` records that wait for no other content. The caller must put these
        records in their queue.
        """
        released = self._records.release(content_key)
        return [record for record in released if not record.waiting_for and record.status == "queued"]

    def waiting(self, content_key: str) -> Sequence[str]:
        """Return the ids of the records that wait for a model or a dataset."""
        return texts(self._redis.smembers(keyspace.waiting(content_key)))

    def repoint(self, id: str, kind: Literal["model", "dataset"], *, key: str, digest: str, wait_for: str | None = None) -> None:
        """Replace the key of an imported content by its digest, in a queued record.

        `kind`: whether the content is the job's model, or a dataset that the job reads.
        `key`: the content's key before its import.
        `wait_for`: the content key of another content that the record must then wait for.
        The caller must hold a lock: two processes may not repoint one record at the same time.
        """
        record = next(iter(self.get_many([id])), None)
        if record is None:
            return
        resolved = record.resolved | _repointed({kind: record.resolved[kind]}, key, digest)
        if kind == "dataset":
            resolved |= {"further": _repointed(record.resolved.get("further", {}), key, digest)}
        needs = [digest if need == key else need for need in record.needs]
        waiting_for = [*record.waiting_for, *([wait_for] if wait_for else [])]
        fields = {"resolved": resolved, "needs": needs, "waiting_for": waiting_for}
        self._redis.sadd(keyspace.pins(digest), id)
        if wait_for:
            self._redis.sadd(keyspace.waiting(wait_for), id)
        change = RecordChange(expected=["queued"], status="queued", fields=fields)
        if not self._records.change(id, change).changed and self._ended(id):
            self._redis.srem(keyspace.pins(digest), id)
        self._redis.srem(keyspace.pins(key), id)

    def _ended(self, id: str) -> bool:
        state = self.state(id)
        return state is None or state.status in ENDED

    def forget_expired(self, oldest: int = 200) -> int:
        """Remove the ids of expired records from the indexes. Return the number of removed ids.

        `oldest`: how many of an index's oldest ids one round checks.
        """
        return self._indexes.forget_expired(oldest)

    @cached_property
    def _indexes(self) -> RecordIndexes:
        return RecordIndexes(self._redis, self._records)


def _repointed(contents: Json, key: str, digest: str) -> Json:
    """Return the contents; each whose digest is the key gets the digest."""
    return {
        name: content | {"digest": digest if content["digest"] == key else content["digest"]} for name, content in contents.items()
    }
