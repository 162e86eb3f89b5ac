"""Indexes of a tenant's records by status and by model.

An index is a sorted set of ids, all with score 0: Redis then sorts the ids as text. Ids of jobs
sort by their time of creation. Ids of inspections are digests, which do not.
"""

from collections.abc import Iterator, Sequence
from typing import Any, cast

import redis

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
        for index in self._indexes_of(record):
            pipeline.zrem(index, record.id)

    def page(
        self, tenant: str, *, limit: int, after: str | None, status: Status | None, model: str | None
    ) -> tuple[list[JobRecord], str | None]:
        """Return the newest records, and the id after which the next page begins.

        That id is None on the last page. A page has at most `limit` records. It has fewer when the
        requests of these records have more than `PAGE_BYTES`.
        """
        index = self._index_for(tenant, status, model)
        page: list[JobRecord] = []
        room = PAGE_BYTES
        while len(page) <= limit and room > 0:
            ids = texts(self._redis.zrevrangebylex(index, f"({after}" if after else "+", "-", 0, limit + 1))
            if not ids:
                return page, None
            ids, room = self._within(ids, room)
            records = self._records.read(ids)
            self._forget(tenant, index, set(ids) - {record.id for record in records})
            page += [record for record in records if _matches(record, status, model)]
            after = ids[-1]
        return page[:limit], page[limit - 1].id if len(page) > limit else after

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
        for index in self._all_indexes():
            # If at least half of the ids have expired, later ids may have expired too: check them.
            for _ in range(MOST_ROUNDS):
                ids = self._oldest(index, oldest)
                expired = set(ids) - self._records.glance(ids).keys()
                if expired:
                    self._redis.zrem(index, *expired)
                forgotten |= expired
                if 2 * len(expired) < oldest:
                    break
        return len(forgotten)

    def _all_indexes(self) -> Iterator[str]:
        """Yield the key of every index that can hold ids of ended records."""
        yield from (keyspace.records_by_status(self._kind, status) for status in ENDED)
        for tenant in texts(self._redis.smembers(keyspace.tenants(self._kind))):
            yield keyspace.all_records(self._kind, tenant)
            yield from (keyspace.records_by_status(self._kind, status, tenant) for status in ENDED)
            for model in texts(self._redis.smembers(keyspace.models_of_records(self._kind, tenant))):
                yield keyspace.records_by_model(self._kind, tenant, model)

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

    def _index_for(self, tenant: str, status: Status | None, model: str | None) -> str:
        if status is not None:
            return keyspace.records_by_status(self._kind, status, tenant)
        return (
            keyspace.records_by_model(self._kind, tenant, model) if model is not None else keyspace.all_records(self._kind, tenant)
        )

    def _forget(self, tenant: str, index: str, ids: set[str]) -> None:
        if ids:
            self._redis.zrem(index, *ids)
            self._redis.zrem(keyspace.all_records(self._kind, tenant), *ids)


def _model_name(record: JobRecord) -> str | None:
    model = record.request.get("model")
    return model.partition("@")[0] if isinstance(model, str) else None


def _matches(record: JobRecord, status: Status | None, model: str | None) -> bool:
    return status in (None, record.status) and (model is None or model == _model_name(record))
