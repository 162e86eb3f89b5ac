"""The queue's jobs: two functions by name, nothing else, whatever somebody writes into the store."""

import pickle
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from rq import Callback, Queue
from rq.serializers import JSONSerializer, PickleSerializer

from unitrank_store.errors import Forged
from unitrank_store.jobs.job_store import JobStore
from unitrank_store.queue.rq_queue import JOBS, QUEUES, enqueue_job, queue_of, transport_id
from unitrank_store.queue.safe_job import FUNCTIONS, TASKS, SafeJob


@pytest.fixture
def jobs(connection: redis.Redis) -> JobStore:
    return JobStore(connection)


@pytest.fixture
def ran() -> Iterator[list[tuple[str, str]]]:
    """The functions that the queue called, each with its argument."""
    calls: list[tuple[str, str]] = []
    names = "run_job", "inspect_model"
    token = TASKS.set({name: lambda id, name=name: calls.append((name, id)) for name in names})
    yield calls
    TASKS.reset(token)


def taken(connection: redis.Redis, queue: Queue) -> SafeJob:
    """The next job, as a worker sees it."""
    found = Queue.dequeue_any([queue], None, connection, job_class=SafeJob, serializer=JSONSerializer)
    assert found is not None
    job, _ = found
    assert isinstance(job, SafeJob)
    return job


def test_job_when_enqueued_then_its_function_is_called_with_its_id(
    connection: redis.Redis, jobs: JobStore, ran: list[tuple[str, str]]
) -> None:
    record = jobs.create({})
    enqueue_job(connection, record)

    taken(connection, queue_of(connection, "job")).perform()
    assert ran == [("run_job", record.id)]


@pytest.mark.parametrize(
    ("kind", "old", "new"),
    [("job", "worker.tasks.run_job", "run_job"), ("inspection", "worker.tasks.inspect_model", "inspect_model")],
)
def test_function_when_an_earlier_version_wrote_its_name_then_is_called(
    connection: redis.Redis, ran: list[tuple[str, str]], kind: str, old: str, new: str
) -> None:
    queue = Queue(QUEUES[kind], connection=connection, serializer=JSONSerializer)
    queue.enqueue_call(old, args=["a"], job_id="a-0")
    job = taken(connection, queue_of(connection, kind))
    job.perform()

    assert (job.record_id, job.attempt) == ("a", 1)
    assert ran == [(new, "a")]


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
        taken(connection, queue_of(connection, "job")).perform()
    assert not marker.exists()


@pytest.mark.parametrize("arguments", [[], [1], ["a", "b"]])
def test_arguments_when_forged_then_nothing_is_called(
    connection: redis.Redis, ran: list[tuple[str, str]], arguments: list[object]
) -> None:
    queue = Queue(JOBS, connection=connection, serializer=JSONSerializer)
    queue.enqueue_call(FUNCTIONS["job"], args=arguments)

    with pytest.raises(Forged):
        taken(connection, queue_of(connection, "job")).perform()
    assert ran == []


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
        taken(connection, queue_of(connection, "job")).perform()
    assert not marker.exists()
