"""The snapshot: numbers of records and workers, and bytes."""

import redis

from unitrank_store.jobs.job_store import JobStore
from unitrank_store.observability.counters import Counters
from unitrank_store.observability.snapshot import take_snapshot
from unitrank_store.redis import keyspace
from unitrank_store.worker_registry import WorkerEntry, WorkerRegistry


def test_snapshot_when_taken_then_counts_records_workers_bytes_and_losses(connection: redis.Redis) -> None:
    jobs = JobStore(connection)
    first, second = jobs.create({}), jobs.create({})
    jobs.cancel(second.id)
    connection.hset(keyspace.blob_sizes(), mapping={"sha256:a": 3, "sha256:b": 4})
    Counters(connection).lost("job")
    WorkerRegistry(connection).beat(WorkerEntry("w", "jobs", "cpu", pid=1, host="h", started_at=1.0, seen_at=1.0))
    snapshot = take_snapshot(connection)

    assert (snapshot.records["job"]["queued"], snapshot.records["job"]["cancelled"]) == (1, 1)
    assert snapshot.entered["job"] == {"cancelled": 1}
    assert set(snapshot.records["inspection"].values()) == {0}
    assert snapshot.stored_bytes == 7
    assert [worker.name for worker in snapshot.workers] == ["w"]
    assert snapshot.counted.lost == {"job": 1.0}
    assert snapshot.waited["job"] >= 0
    assert jobs.get(first.id).status == "queued"
