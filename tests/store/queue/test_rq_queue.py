"""The queue: two functions by name, nothing else, whatever somebody writes into the store."""

import pickle
import sys
import types
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from rq import Callback, Queue
from rq.serializers import JSONSerializer, PickleSerializer

from unitrank_store.jobs.job_store import JobStore
from unitrank_store.queue.rq_queue import (
    FUNCTIONS,
    JOBS,
    Forged,
    SafeJob,
    depth,
    enqueue_inspection,
    enqueue_job,
    positions,
    queue_of,
    taken_ids,
    transport_id,
    waiting_ids,
    withdraw,
)


@pytest.fixture
def jobs(connection: redis.Redis) -> JobStore:
    return JobStore(connection)


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The ids that a stand-in for the worker's tasks was called with."""
    called: list[str] = []
    tasks = types.ModuleType("unitrank_worker.tasks")
    vars(tasks).update(run_job=called.append, inspect_model=called.append)
    monkeypatch.setitem(sys.modules, "unitrank_worker.tasks", tasks)
    return called


def taken(connection: redis.Redis, queue: Queue) -> SafeJob:
    """The next job, as a worker sees it."""
    found = Queue.dequeue_any([queue], None, connection, job_class=SafeJob, serializer=JSONSerializer)
    assert found is not None
    job, _ = found
    assert isinstance(job, SafeJob)
    return job


def test_job_when_enqueued_then_its_function_is_called_with_its_id(connection: redis.Redis, jobs: JobStore, ran: list[str]) -> None:
    record = jobs.create({})
    enqueue_job(connection, record)

    taken(connection, queue_of(connection, "job")).perform()
    assert ran == [record.id]


def test_jobs_when_waiting_then_each_knows_its_place(connection: redis.Redis, jobs: JobStore) -> None:
    first, second, third = (jobs.create({}) for _ in range(3))
    urgent = jobs.create({"priority": "high"})
    for record in (first, second, third, urgent):
        enqueue_job(connection, record)

    assert list(positions(connection, [urgent, first, second, third]).values()) == [0, 1, 2, 3]
    assert depth(connection) == 4
    withdraw(connection, "job", second)
    withdraw(connection, "job", first)
    assert positions(connection, [urgent, first, second, third]) == {urgent.id: 0, third.id: 1}


def test_job_when_taken_out_of_the_queue_then_is_still_seen_on_its_way(connection: redis.Redis, jobs: JobStore) -> None:
    record = jobs.create({})
    assert waiting_ids(connection, "job") == set()
    enqueue_job(connection, record)
    assert waiting_ids(connection, "job") == {transport_id(record.id, 0)}
    taken(connection, queue_of(connection, "job"))

    assert waiting_ids(connection, "job") == set()
    assert taken_ids(connection, "job") == {transport_id(record.id, 0)}


def test_model_when_enqueued_twice_then_is_inspected_once(connection: redis.Redis) -> None:
    digest = "sha256:" + "ab" * 32
    first, second = (enqueue_inspection(connection, digest, 60) for _ in range(2))

    assert first == second
    assert (depth(connection, "inspection"), first.timeout) == (1, 60.0)


def test_model_when_its_inspection_has_ended_then_can_be_inspected_again(connection: redis.Redis) -> None:
    digest = "sha256:" + "ab" * 32
    inspections = JobStore(connection, kind="inspection")
    inspections.cancel(enqueue_inspection(connection, digest, 60).id)

    assert enqueue_inspection(connection, digest, 60).status == "queued"


def test_queue_when_written_then_holds_no_pickle(connection: redis.Redis, jobs: JobStore) -> None:
    record = jobs.create({})
    enqueue_job(connection, record)
    stored = connection.hgetall(SafeJob.key_for(transport_id(record.id, record.attempt)))

    assert not any(value.startswith(b"\x80") for value in stored.values())


@pytest.mark.parametrize("function", ["os.system", "builtins.eval", "unitrank_worker.tasks.os.system", ""])
def test_function_when_forged_then_is_not_called(connection: redis.Redis, tmp_path: Path, function: str) -> None:
    marker = tmp_path / "marker"
    Queue(JOBS, connection=connection, serializer=JSONSerializer).enqueue_call(function or "x", args=[f"touch {marker}"])

    with pytest.raises(Forged):
        taken(connection, queue_of(connection, "job")).perform()
    assert not marker.exists()


@pytest.mark.parametrize("arguments", [[], [1], ["a", "b"]])
def test_arguments_when_forged_then_nothing_is_called(connection: redis.Redis, ran: list[str], arguments: list[object]) -> None:
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


def test_inspections_when_one_key_put_many_then_another_waits_for_one(connection: redis.Redis) -> None:
    for number in range(5):
        enqueue_inspection(connection, f"sha256:{number:064}", 60, "ours")
    late = enqueue_inspection(connection, f"sha256:{9:064}", 60, "theirs")

    assert positions(connection, [late], "inspection")[late.id] <= 1
