"""The queue's entries: a worker accepts two functions by name, and rejects all forged entries."""

import pickle
from pathlib import Path

import pytest
import redis
from rq import Callback, Queue
from rq.serializers import JSONSerializer, PickleSerializer

from unitrank_store.errors import Forged
from unitrank_store.jobs.job_store import JobStore
from unitrank_store.queue.rq_queue import JOBS, QUEUES, enqueue_job, queue_of, transport_id
from unitrank_store.queue.safe_job import FUNCTIONS, SafeJob


@pytest.fixture
def jobs(connection: redis.Redis) -> JobStore:
    return JobStore(connection)


def taken(connection: redis.Redis, queue: Queue) -> SafeJob:
    """Take the next entry as a worker does."""
    entry = Queue.dequeue_any([queue], None, connection, job_class=SafeJob, serializer=JSONSerializer)
    assert entry is not None
    job, _ = entry
    assert isinstance(job, SafeJob)
    return job


def test_job_when_enqueued_then_a_worker_reads_its_id_and_attempt(connection: redis.Redis, jobs: JobStore) -> None:
    record = jobs.create({})
    enqueue_job(connection, record)
    job = taken(connection, queue_of(connection, "job"))

    assert (job.func_name, job.record_id, job.attempt) == ("run_job", record.id, 1)


def test_job_when_performed_as_rq_does_then_imports_nothing(connection: redis.Redis, jobs: JobStore) -> None:
    enqueue_job(connection, jobs.create({}))

    with pytest.raises(NotImplementedError):
        taken(connection, queue_of(connection, "job")).perform()


@pytest.mark.parametrize(("kind", "name"), [("job", "worker.tasks.run_job"), ("inspection", "worker.tasks.inspect_model")])
def test_function_when_an_earlier_version_wrote_its_name_then_is_accepted(connection: redis.Redis, kind: str, name: str) -> None:
    queue = Queue(QUEUES[kind], connection=connection, serializer=JSONSerializer)
    queue.enqueue_call(name, args=["a"], job_id="a-0")
    job = taken(connection, queue_of(connection, kind))

    assert (job.record_id, job.attempt) == ("a", 1)


def test_queue_when_written_then_holds_no_pickle(connection: redis.Redis, jobs: JobStore) -> None:
    record = jobs.create({})
    enqueue_job(connection, record)
    stored = connection.hgetall(SafeJob.key_for(transport_id(record.id, record.attempt)))

    assert not any(value.startswith(b"\x80") for value in stored.values())


@pytest.mark.parametrize(
    "function",
    [
        "os.system",
        "builtins.eval",
        "tasks.run_job",
        "worker.tasks.run_job.run_job",
        "unitrank_worker.tasks.run_job",
        "unitrank_worker.tasks.os.system",
        "",
    ],
)
def test_function_when_forged_then_is_not_called(connection: redis.Redis, tmp_path: Path, function: str) -> None:
    marker = tmp_path / "marker"
    Queue(JOBS, connection=connection, serializer=JSONSerializer).enqueue_call(function or "x", args=[f"touch {marker}"])

    with pytest.raises(Forged):
        _ = taken(connection, queue_of(connection, "job")).record_id
    assert not marker.exists()


@pytest.mark.parametrize("arguments", [[], [1], ["a", "b"]])
def test_arguments_when_forged_then_nothing_is_called(connection: redis.Redis, arguments: list[object]) -> None:
    queue = Queue(JOBS, connection=connection, serializer=JSONSerializer)
    queue.enqueue_call(FUNCTIONS["job"], args=arguments)

    with pytest.raises(Forged):
        _ = taken(connection, queue_of(connection, "job")).record_id


def test_callbacks_when_forged_then_are_left_out(connection: redis.Redis) -> None:
    callback = Callback("os.system")
    queue = Queue(JOBS, connection=connection, serializer=JSONSerializer)
    queue.enqueue_call(FUNCTIONS["job"], args=["a"], on_success=callback, on_failure=callback, on_stopped=callback)
    job = taken(connection, queue_of(connection, "job"))

    assert (job.success_callback, job.failure_callback, job.stopped_callback) == (None, None, None)


def test_pickle_when_put_in_the_queue_then_is_not_loaded(connection: redis.Redis, tmp_path: Path) -> None:
    marker = tmp_path / "marker"

    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (marker.write_text, ("loaded",))

    evil = pickle.dumps(("x", Evil(), (), {}))
    queue = Queue(JOBS, connection=connection, serializer=PickleSerializer)
    forged = queue.enqueue_call("x.y", args=["a"])
    connection.hset(forged.key, "data", evil)
    connection.hset(forged.key, "meta", evil)

    with pytest.raises(Forged):
        _ = taken(connection, queue_of(connection, "job")).record_id
    assert not marker.exists()
