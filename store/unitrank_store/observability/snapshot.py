"""A snapshot of the store's counts at one moment, for the service's metrics."""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import redis

from unitrank_store.jobs.record import ENDED, LIVE
from unitrank_store.jobs.records import KINDS
from unitrank_store.observability import counters
from unitrank_store.observability.counters import CounterValues
from unitrank_store.redis import keyspace
from unitrank_store.redis.decoding import text_fields, texts
from unitrank_store.worker_registry import WorkerEntry, WorkerRegistry

STATUSES = (*LIVE, *ENDED)
SAMPLE = 100
"""Number of queued records among which the oldest is searched.

Ids of jobs sort by time, so that the oldest is among them. Ids of inspections do not: there the
result is an estimate.
"""


@dataclass(frozen=True)
class Snapshot:
    """Counts of the store.

    `records`: number of records by kind and status.
    `entered`: number of times that a record entered a status, by kind and status.
    `waited`: seconds that the oldest queued record has waited, by kind.
    `stored_bytes`: bytes of all blobs that have an owner.
    """

    records: Mapping[str, Mapping[str, int]]
    entered: Mapping[str, Mapping[str, int]]
    waited: Mapping[str, float]
    stored_bytes: int
    workers: Sequence[WorkerEntry]
    counted: CounterValues


def take_snapshot(connection: redis.Redis) -> Snapshot:
    """Read the snapshot, in a few round trips."""
    with connection.pipeline(transaction=False) as pipeline:
        for kind in KINDS:
            for status in STATUSES:
                pipeline.zcard(keyspace.records_by_status(kind, status))
            pipeline.hgetall(keyspace.entered(kind))
            pipeline.zrange(keyspace.records_by_status(kind, "queued"), 0, SAMPLE - 1)
        pipeline.hvals(keyspace.blob_sizes())
        counters.request(pipeline)
        *by_kind, sizes, counted = pipeline.execute()
    count = len(STATUSES) + 2
    replies = {kind: by_kind[index * count : (index + 1) * count] for index, kind in enumerate(KINDS)}
    return Snapshot(
        records={kind: dict(zip(STATUSES, reply[:-2], strict=True)) for kind, reply in replies.items()},
        entered={kind: {status: int(count) for status, count in text_fields(reply[-2]).items()} for kind, reply in replies.items()},
        waited={kind: _waited(connection, kind, texts(reply[-1])) for kind, reply in replies.items()},
        stored_bytes=sum(map(int, sizes)),
        workers=WorkerRegistry(connection).list(),
        counted=counters.read(counted),
    )


def _waited(connection: redis.Redis, kind: str, ids: Sequence[str]) -> float:
    """Return the seconds since the oldest of the records was created; 0 without records."""
    with connection.pipeline(transaction=False) as pipeline:
        for id in ids:
            pipeline.hget(keyspace.record(kind, id), "created_at")
        created = [json.loads(stored) for stored in pipeline.execute() if stored]
    return max(0.0, time.time() - min(created)) if created else 0.0
