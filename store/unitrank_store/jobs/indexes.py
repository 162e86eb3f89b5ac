"""Indexes of a tenant's records by status and by model.

An index is a sorted set of ids, all with score 0: Redis then sorts the ids as text. Ids of jobs
sort by their time of creation. Ids of inspections are digests, which do not.
"""

from collections.abc import Iterator, Sequence
from typing import Any, cast

import redis

from unitrank_store.jobs.listing.job_filter import JobFilter
from unitrank_store.jobs.listing.search import Hit, JobSearch
from unitrank_store.jobs.record import ENDED, JobRecord, Status
from unitrank_store.jobs.records import RecordTable
from unitrank_store.redis import keyspace
from unitrank_store.redis.decoding import texts

PAGE_BYTES = 16 * 1024 * 1024
"""Maximum bytes of the requests on one page, which may contain datasets."""
MOST_ROUNDS = 50
"""Maximum number of rounds in which one call removes expired ids from an index."""


class RecordIndexes:
    """The indexes of one kind of records.

    Redis expires records, but not their ids in an index. A read removes the expired ids it meets.
    """

    def __init__(self, connection: redis.Redis, records: RecordTable) -> None:
        self._redis = connection
        self._records = records
        self._kind = records.kind

    def add(self, record: JobRecord, pipeline: redis.client.Pipeline) -> None:
        """Queue the commands that add a new record's id to its indexes."""
        for index in self._indexes_of(record):
            pipeline.zadd(index, {record.id: 0})
        pipeline.sadd(keyspace.tenants(self._kind), record.tenant)
        if model := _model_name(record):
            pipeline.sadd(keyspace.models_of_records(self._kind, record.tenant), model)

    def remove(self, record: JobRecord, pipeline: redis.client.Pipeline) -> None:
        """Queue the commands that remove a record's id from its indexes."""
        for index in (*self._indexes_of(record), keyspace.areas(self._kind, record.tenant)):
            pipeline.zrem(index, record.id)

    def page(self, tenant: str, filter: JobFilter, *, limit: int, after: str | None) -> tuple[list[JobRecord], str | None]:
        """Return the records that the filter selects, and the cursor of the next page.

        The cursor is None on the last page. A page has at most `limit` records. It has fewer when
        the requests of these records have more than `PAGE_BYTES`.
        """
        hits, cursor = self.hits(tenant, filter, limit=limit, after=after)
        ids, _ = self._within([hit.id for hit in hits], PAGE_BYTES)
        records = self._records.read(ids)
        return records, hits[len(ids) - 1].cursor if len(ids) < len(hits) else cursor

    def hits(self, tenant: str, filter: JobFilter, *, limit: int, after: str | None) -> tuple[list[Hit], str | None]:
        """Return the ids that the filter selects, and the cursor of the next page."""
        return JobSearch(self._redis, self._records, tenant).page(filter, limit, after)

    def _within(self, ids: Sequence[str], room: int) -> tuple[Sequence[str], int]:
        """Return the first ids whose requests fit into `room` bytes, and the bytes that are left.

        The first id is always returned.
        """
        for number, size in enumerate(self._records.sizes(ids)):
            room -= size
            if room <= 0:
                return ids[: number + 1], 0
        return ids, room

    def count(self, status: Status) -> int:
        """Return the number of ids in a status, over all tenants."""
        return int(self._redis.zcard(keyspace.records_by_status(self._kind, status)))

    def forget_expired(self, oldest: int) -> int:
        """Remove the ids of expired records from all indexes. Return the number of removed ids.

        `oldest`: how many of an index's oldest ids one round checks.
        """
        forgotten: set[str] = set()
        for index, *alike in self._all_indexes():
            # If at least half of the ids have expired, later ids may have expired too: check them.
            for _ in range(MOST_ROUNDS):
                ids = self._oldest(index, oldest)
                expired = set(ids) - self._records.glance(ids).keys()
                for key in (index, *alike) if expired else ():
                    self._redis.zrem(key, *expired)
                forgotten |= expired
                if 2 * len(expired) < oldest:
                    break
        return len(forgotten)

    def _all_indexes(self) -> Iterator[tuple[str, ...]]:
        """Yield the key of every index that can hold ids of ended records.

        Further keys belong to indexes that hold some of the same ids.
        """
        yield from ((keyspace.records_by_status(self._kind, status),) for status in ENDED)
        for tenant in texts(self._redis.smembers(keyspace.tenants(self._kind))):
            # The areas do not sort by time, so they are not checked on their own.
            yield keyspace.all_records(self._kind, tenant), keyspace.areas(self._kind, tenant)
            yield from ((keyspace.records_by_status(self._kind, status, tenant),) for status in ENDED)
            for model in texts(self._redis.smembers(keyspace.models_of_records(self._kind, tenant))):
                yield (keyspace.records_by_model(self._kind, tenant, model),)

    def _oldest(self, index: str, count: int) -> Sequence[str]:
        if self._kind == "inspection":
            # Ids of inspections are digests, which do not sort by time: take random ids.
            # cast: redis-py types the reply as a union
            return texts(cast(list[Any], self._redis.zrandmember(index, count)))
        return texts(self._redis.zrange(index, 0, count - 1))

    def _indexes_of(self, record: JobRecord) -> Sequence[str]:
        tenant, model = record.tenant, _model_name(record)
        return [
            keyspace.all_records(self._kind, tenant),
            keyspace.records_by_status(self._kind, record.status),
            keyspace.records_by_status(self._kind, record.status, tenant),
            *([keyspace.records_by_model(self._kind, tenant, model)] if model else []),
        ]


def _model_name(record: JobRecord) -> str | None:
    model = record.request.get("model")
    return model.partition("@")[0] if isinstance(model, str) else None
