"""One worker process, and everything that can happen to its jobs and its child."""

import os
import signal
from pathlib import Path

import pytest
from rq import Worker
from rq.exceptions import StopRequested

from tests.support.polling import wait_until
from tests.worker.process.conftest import REQUEST, Bench, cancel, gone
from unitrank_store.observability.throughput import Throughput
from unitrank_store.queue.rq_queue import JOBS, enqueue_job
from unitrank_store.worker_registry import WorkerRegistry
from unitrank_worker.process.rq_worker import WarmWorker


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def test_job_when_run_then_succeeds_with_its_result(shared: Bench) -> None:
    id = shared.submit()

    assert shared.summary(id)["runs"] == 1
    assert (shared.jobs.get(id).worker, shared.jobs.get(id).attempt) == ("w", 1)


def test_speed_when_a_job_has_run_then_is_noted(shared: Bench) -> None:
    record = shared.jobs.create(REQUEST, shared.resolved | {"flops": 1e9})
    enqueue_job(shared.connection, record)
    shared.ended(record.id)

    # A job ends before its speed is recorded.
    wait_until(lambda: (Throughput(shared.connection).rate("cpu") or 0) > 1e6, "the speed is noted")


def test_registries_of_rq_when_a_job_has_ended_then_hold_nothing_of_it(shared: Bench) -> None:
    id = shared.submit()
    shared.ended(id)
    shared.idle()
    (worker,) = shared.connection.smembers("rq:workers")
    entry = shared.connection.hgetall(worker)

    assert not [key for key in shared.connection.scan_iter("rq:*") if id.encode() in key]
    assert not shared.connection.zcard(f"rq:wip:{JOBS}")
    assert b"current_job" not in entry
    assert float(entry[b"current_job_working_time"]) == 0
    # The entry of an idle worker must not expire before RQ's next heartbeat.
    assert shared.connection.ttl(worker) > 60


def test_child_when_jobs_follow_each_other_then_stays_warm(shared: Bench) -> None:
    first, second = (shared.summary(shared.submit()) for _ in range(2))

    assert first["pid"] == second["pid"] == shared.workers[0].child()
    assert second["runs"] == first["runs"] + 1
    wait_until(
        lambda: WorkerRegistry(shared.connection).list()[0].models == {"default": ["mnist"]}, "the worker tells what it holds warm"
    )
    assert WorkerRegistry(shared.connection).list()[0].memory > 0


def test_parent_when_it_works_then_has_no_torch(shared: Bench) -> None:
    maps = Path(f"/proc/{shared.workers[0].process.pid}/maps")
    if not maps.exists():
        pytest.skip("no /proc here")

    assert "torch" not in maps.read_text()


def test_job_when_its_child_is_killed_then_runs_again_on_a_new_one(shared: Bench, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    old = shared.workers[0].child()
    id = shared.submit(["mark", str(mark)], ["die_once", str(mark)])
    new = shared.summary(id)["pid"]

    assert [int(line) for line in lines(mark)] == [old, new]
    assert old != new
    assert (shared.jobs.get(id).attempt, shared.jobs.get(id).losses) == (2, 1)


def test_job_when_its_child_is_killed_from_outside_then_runs_again(shared: Bench, tmp_path: Path) -> None:
    go = tmp_path / "go"
    id = shared.submit(["await", str(go)])
    shared.running(id)
    os.kill(shared.workers[0].child(), signal.SIGKILL)
    go.touch()

    assert (shared.ended(id).status, shared.ended(id).attempt) == ("succeeded", 2)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT])
def test_job_when_it_kills_two_children_then_fails_and_never_runs_again(
    shared: Bench, tmp_path: Path, number: signal.Signals
) -> None:
    mark = tmp_path / "mark"
    record = shared.ended(shared.submit(["mark", str(mark)], ["kill", int(number)]))
    next_one = shared.ended(shared.submit())

    assert (record.status, record.attempt) == ("failed", 2)
    assert record.problem is not None
    assert (record.problem["code"], record.problem["retryable"]) == ("worker_lost", True)
    assert len(lines(mark)) == 2
    assert next_one.status == "succeeded"


@pytest.mark.parametrize("verb", ["sleep", "hang"])
def test_job_when_cancelled_while_it_reports_nothing_then_its_child_is_killed(shared: Bench, verb: str) -> None:
    id = shared.submit([verb, 60])
    shared.running(id)
    old = shared.workers[0].child()
    shared.jobs.cancel(id)
    record = shared.ended(id)
    next_one = shared.summary(shared.submit())

    assert (record.status, record.problem) == ("cancelled", None)
    assert next_one["pid"] != old
    assert gone(old)


def test_job_when_cancelled_while_it_reports_then_ends_without_a_kill_and_the_child_stays(shared: Bench) -> None:
    id = shared.submit(["report", 60])
    wait_until(lambda: shared.jobs.get(id).progress is not None, "progress")
    shared.jobs.cancel(id)

    assert shared.ended(id).status == "cancelled"
    assert shared.ended(shared.submit()).status == "succeeded"


def test_job_when_cancelled_in_the_queue_then_never_runs(shared: Bench, tmp_path: Path) -> None:
    go, mark = tmp_path / "go", tmp_path / "mark"
    first = shared.submit(["await", str(go)])
    second = shared.submit(["mark", str(mark)])
    shared.running(first)
    cancel(shared, second)
    go.touch()

    assert shared.ended(first).status == "succeeded"
    assert shared.ended(shared.submit()).status == "succeeded"
    assert (shared.status(second), lines(mark)) == ("cancelled", [])


@pytest.mark.parametrize("verb", ["report", "hang"])
def test_job_when_over_its_time_then_is_timed_out(shared: Bench, verb: str) -> None:
    record = shared.ended(shared.submit([verb, 60], timeout=0.3))

    assert record.status == "timed_out"
    assert (record.problem or {})["code"] == "timed_out"
    assert shared.ended(shared.submit()).status == "succeeded"


@pytest.mark.parametrize(
    ("kind", "code"), [("engine", "non_finite"), ("memory", "out_of_memory"), ("bug", "internal"), ("cuda", "internal")]
)
def test_job_when_its_engine_raises_then_fails_with_a_problem_and_no_traceback(shared: Bench, kind: str, code: str) -> None:
    record = shared.ended(shared.submit(["raise", kind]))

    assert record.status == "failed"
    assert (record.problem or {})["code"] == code
    assert "secret" not in str(record)
    assert "Traceback" not in str(record)
    assert record.attempt == 1


def test_child_when_its_device_is_broken_then_is_replaced(shared: Bench) -> None:
    before = shared.summary(shared.submit())["pid"]
    shared.ended(shared.submit(["raise", "cuda"]))

    assert shared.summary(shared.submit())["pid"] != before


def test_child_when_killed_while_idle_then_the_next_job_gets_a_new_one(shared: Bench) -> None:
    shared.summary(shared.submit())
    old = shared.workers[0].child()
    os.kill(old, signal.SIGKILL)
    id = shared.submit()

    assert shared.summary(id)["pid"] != old
    assert shared.jobs.get(id).attempt <= 2


def test_queue_when_it_holds_a_forged_entry_then_the_worker_goes_on(shared: Bench, tmp_path: Path) -> None:
    from rq import Queue
    from rq.serializers import JSONSerializer, PickleSerializer

    from unitrank_store.queue.rq_queue import JOBS

    marker = tmp_path / "marker"
    for serializer in (JSONSerializer, PickleSerializer):
        Queue(JOBS, connection=shared.connection, serializer=serializer).enqueue_call("os.system", args=[f"touch {marker}"])

    assert shared.ended(shared.submit()).status == "succeeded"
    assert not marker.exists()


def test_worker_when_a_signal_to_stop_comes_during_maintenance_then_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(worker: Worker) -> None:
        raise StopRequested

    monkeypatch.setattr(Worker, "run_maintenance_tasks", stop)
    worker = object.__new__(WarmWorker)
    worker._worker_name = "w"

    with pytest.raises(StopRequested):
        worker.run_maintenance_tasks()
