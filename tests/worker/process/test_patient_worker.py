"""RQ's worker while the store cannot serve."""

from collections.abc import Iterator

import pytest
import redis
from rq.serializers import JSONSerializer

from unitrank_store.jobs.job_store import JobStore
from unitrank_store.queue.rq_queue import enqueue_job, queue_of, taken_ids, transport_id
from unitrank_store.queue.safe_job import SafeJob
from unitrank_worker.process.patient_worker import PatientWorker


@pytest.fixture
def full(connection: redis.Redis) -> Iterator[redis.Redis]:
    """A server that rejects writes while its `maxmemory` is 1."""
    limit = connection.config_get("maxmemory")["maxmemory"]
    yield connection
    connection.config_set("maxmemory", limit)


def test_start_when_the_store_was_full_then_is_written_with_the_next_heartbeat(full: redis.Redis) -> None:
    record = JobStore(full).create({})
    enqueue_job(full, record)
    queue = queue_of(full, "job")
    worker = PatientWorker([queue], name="w", connection=full, job_class=SafeJob, serializer=JSONSerializer)
    taken = queue.dequeue_any([queue], None, full, job_class=SafeJob, serializer=JSONSerializer)
    assert taken is not None
    job, id = taken[0], transport_id(record.id, 0)
    full.config_set("maxmemory", 1)
    worker.begin_execution(job, genuine=True)
    worker.maintain_heartbeats(job)
    assert taken_ids(full, "job") == {id}
    full.config_set("maxmemory", 0)
    worker.maintain_heartbeats(job)

    assert taken_ids(full, "job") == set()
    assert queue.started_job_registry.get_job_ids() == [id]
    written = full.zrange(queue.started_job_registry.key, 0, -1)
    worker.maintain_heartbeats(job)
    assert full.zrange(queue.started_job_registry.key, 0, -1) == written
