"""RQ's worker while the store cannot serve."""

import redis
from rq.serializers import JSONSerializer

from tests.support.servers.redis_server import memory_limit
from unitrank_store.jobs.job_store import JobStore
from unitrank_store.queue.rq_queue import enqueue_job, queue_of, taken_ids, transport_id
from unitrank_store.queue.safe_job import SafeJob
from unitrank_worker.process.patient_worker import PatientWorker


def test_start_when_the_store_was_full_then_is_written_with_the_next_heartbeat(connection: redis.Redis) -> None:
    record = JobStore(connection).create({})
    enqueue_job(connection, record)
    queue = queue_of(connection, "job")
    worker = PatientWorker([queue], name="w", connection=connection, job_class=SafeJob, serializer=JSONSerializer)
    taken = queue.dequeue_any([queue], None, connection, job_class=SafeJob, serializer=JSONSerializer)
    assert taken is not None
    job, id = taken[0], transport_id(record.id, 0)
    with memory_limit(connection, 1):
        worker.begin_execution(job, genuine=True)
        worker.maintain_heartbeats(job)
        assert taken_ids(connection, "job") == {id}
    worker.maintain_heartbeats(job)

    assert taken_ids(connection, "job") == set()
    assert queue.started_job_registry.get_job_ids() == [id]
    written = connection.zrange(queue.started_job_registry.key, 0, -1)
    worker.maintain_heartbeats(job)
    assert connection.zrange(queue.started_job_registry.key, 0, -1) == written
