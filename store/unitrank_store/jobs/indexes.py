"""Which records a tenant has, newest first: sorted sets of ids by status and by model. The ids sort by time."""

from collections.abc import Iterator, Sequence
from typing import Any, cast

import redis

from unitrank_store.jobs.record import ENDED, JobRecord, Status
from unitrank_store.jobs.records import RecordTable
from unitrank_store.redis import keyspace
from unitrank_store.redis.decoding import texts

PAGE_BYTES = 16 * 1024 * 1024
"""Of the requests on one page: datasets may lie in them."""
MOST_ROUNDS = 50


class RecordIndexes:
    """The indices of one kind of records. Records expire by themselves; their ids go when they are met."""

    def __init__(self, connection: redis.Redis, records: RecordTable) -> None:
        self._redis = connection
        self._records = records
        self._kind = records.kind

    def add(self, record: JobRecord, pipeline: redis.client.Pipeline) -> None:
        """Put a new record's id where it belongs."""
        for index in self._indices(record):
            pipeline.zadd(index, {record.id: 0})
        pipeline.sadd(keyspace.tenants(self._kind), record.tenant)
        if model := _model_name(record):
            pipeline.sadd(keyspace.models_of_records(self._kind, record.tenant), model)

    def remove(self, record: JobRecord, pipeline: redis.client.Pipeline) -> None:
        """Take it out."""
        for index in self._indices(record):
            pipeline.zrem(index, record.id)

    def page(
        self, tenant: str, *, limit: int, after: str | None, status: Status | None, model: str | None
    ) -> tuple[list[JobRecord], str | None]:
        """Newest first, and the id to go on after where there may be more; fewer than the limit where they are large."""
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
        """The first of them, whose requests have no more bytes than there is room, but one at least; and the room left."""
        for number, size in enumerate(self._records.sizes(ids)):
            room -= size
            if room <= 0:
                return ids[: number + 1], 0
        return ids, room

    def count(self, status: Status) -> int:
        """How many ids are in that status."""
        return int(self._redis.zcard(keyspace.records_by_status(self._kind, status)))

    def forget_expired(self, oldest: int) -> int:
        """Take ids whose record has expired out, so many of the oldest of each index at a time; how many there were."""
        gone: set[str] = set()
        for index in self._all_indices():
            # Where most of them have expired, more have than were looked at.
            for _ in range(MOST_ROUNDS):
                ids = self._oldest(index, oldest)
                expired = set(ids) - self._records.glance(ids).keys()
                if expired:
                    self._redis.zrem(index, *expired)
                gone |= expired
                if 2 * len(expired) < oldest:
                    break
        return len(gone)

    def _all_indices(self) -> Iterator[str]:
        """Every index that may hold what has ended."""
        yield from (keyspace.records_by_status(self._kind, status) for status in ENDED)
        for tenant in texts(self._redis.smembers(keyspace.tenants(self._kind))):
            yield keyspace.all_records(self._kind, tenant)
            yield from (keyspace.records_by_status(self._kind, status, tenant) for status in ENDED)
            for model in texts(self._redis.smembers(keyspace.models_of_records(self._kind, tenant))):
                yield keyspace.records_by_model(self._kind, tenant, model)

    def _oldest(self, index: str, count: int) -> Sequence[str]:
        if self._kind == "inspection":
            # Digests are in no order of time: any of them, round after round.
            return texts(cast(list[Any], self._redis.zrandmember(index, count)))  # redis-py types it as a union
        return texts(self._redis.zrange(index, 0, count - 1))

    def _indices(self, record: JobRecord) -> Sequence[str]:
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
