"""Workers that are stopped, killed, cut off from the store, and that cannot start."""

import json
import os
import signal
import socket
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.support.polling import wait_until
from tests.worker.process.conftest import REQUEST, Bench, gone
from unitrank_store.contents.models import ModelStore
from unitrank_store.jobs.job_store import JobStore
from unitrank_store.queue.rq_queue import JOBS, enqueue_inspection, enqueue_job
from unitrank_store.recovery.reaper import Reaper
from unitrank_store.redis import keyspace
from unitrank_store.redis.connection import connect
from unitrank_store.redis.embedded import EmbeddedServer
from unitrank_store.redis.memory import REUSE_SECONDS
from unitrank_store.settings import Settings
from unitrank_store.worker_registry import WorkerEntry, WorkerRegistry
from unitrank_worker.__main__ import _options, living_namesake


def upload(bench: Bench, name: str, archive: bytes, *, owner: str = "", cpu: float = 60) -> str:
    """The id of the inspection of a new model. `cpu`: its limit, in seconds of CPU time."""
    with bench.blobs.writer() as writer:
        writer.write(archive)
    model = ModelStore(bench.connection, bench.blobs).begin(name, writer.digest, len(archive), "1").record
    return enqueue_inspection(bench.connection, model, Settings(inspection_cpu=cpu), owner).id


def inspected(bench: Bench, *engines: str) -> dict[str, object]:
    """The problem of a model that workers with these engines have inspected."""
    models = ModelStore(bench.connection, bench.blobs)
    upload(bench, "m", b"archive")
    for number, engine in enumerate(engines):
        bench.start(f"inspector-{number}", engine, "inspections")
    wait_until(lambda: models.get("m").status == "rejected", "the model is rejected")
    return models.get("m").problem or {}


@pytest.mark.check
def test_inspections_when_a_key_uploads_crashers_then_another_key_waits_for_one_turn(bench: Bench) -> None:
    inspections = JobStore(bench.connection, kind="inspection")
    crashers = [upload(bench, f"c{number}", b"crash%d" % number, owner="hostile") for number in range(4)]
    bench.start("inspector", "Hostile", "inspections")
    wait_until(lambda: any(record.losses for record in inspections.get_many(crashers)), "a child has crashed")
    before = sum(record.attempt for record in inspections.get_many(crashers))
    models = ModelStore(bench.connection, bench.blobs)
    other = upload(bench, "other", b"good", owner="honest")
    wait_until(lambda: inspections.get(other).ended, "the other key's model is inspected")
    attempts = [record.attempt for record in inspections.get_many(crashers)]
    wait_until(lambda: all(models.get(f"c{number}").status == "rejected" for number in range(4)), "all are rejected")

    # The crasher that was taken before the upload, and at most one turn after it.
    assert sum(attempts) <= before + 2
    assert max(attempts) == 1
    assert models.get("other").status == "ready"


@pytest.mark.check
def test_inspection_when_it_uses_its_cpu_time_then_is_stopped_and_rejected(bench: Bench) -> None:
    upload(bench, "m", b"spin", cpu=0.5)
    bench.start("inspector", "Hostile", "inspections")
    models = ModelStore(bench.connection, bench.blobs)
    wait_until(lambda: models.get("m").status == "rejected", "the model is rejected")
    problem = models.get("m").problem or {}

    assert problem["code"] == "inspection_too_slow"
    assert "0.5" in problem["detail"]


@pytest.mark.check
def test_worker_when_signalled_to_stop_then_finishes_its_job_and_takes_no_other(bench: Bench, tmp_path: Path) -> None:
    worker = bench.start()
    child = worker.child()
    go = tmp_path / "go"
    first, second = bench.submit(["await", str(go)]), bench.submit()
    bench.running(first)
    worker.process.send_signal(signal.SIGTERM)
    time.sleep(0.3)
    assert bench.status(first) == "running"
    go.touch()

    assert bench.ended(first).status == "succeeded"
    assert worker.process.wait(30) == 0
    assert bench.status(second) == "queued"
    assert gone(child)
    assert WorkerRegistry(bench.connection).list() == []


@pytest.mark.serial
def test_worker_when_signalled_to_stop_twice_then_puts_its_job_back(bench: Bench) -> None:
    worker = bench.start()
    id = bench.submit(["sleep", 60])
    bench.running(id)
    child = worker.child()
    worker.process.send_signal(signal.SIGTERM)
    time.sleep(1.2)  # RQ takes a second signal within a second for the same one
    worker.process.send_signal(signal.SIGTERM)
    worker.process.wait(30)

    assert gone(child)
    assert (bench.status(id), bench.jobs.get(id).losses) == ("queued", 0)


@pytest.mark.check
def test_worker_when_signalled_to_stop_and_its_time_is_over_then_puts_its_job_back(bench: Bench) -> None:
    worker = bench.start(drain=0.5)
    id = bench.submit(["hang", 60])
    bench.running(id)
    worker.process.send_signal(signal.SIGTERM)

    assert worker.process.wait(30) == 0
    assert (bench.status(id), bench.jobs.get(id).losses) == ("queued", 0)


@pytest.mark.check
def test_worker_when_another_lives_under_its_name_then_is_refused(bench: Bench) -> None:
    first = bench.start("w")
    id = bench.submit(["report", 1])
    second = bench.start("w", wait=False)

    assert second.process.wait(30) == 2
    assert (bench.ended(id).status, bench.ended(id).attempt) == ("succeeded", 1)
    assert first.process.poll() is None


def test_worker_when_another_machine_has_its_name_then_is_refused(bench: Bench) -> None:
    entry = WorkerEntry("w", JOBS, "cpu", os.getpid(), "elsewhere", time.time(), time.time())
    WorkerRegistry(bench.connection, 60).beat(entry)

    assert bench.start("w", wait=False).process.wait(30) == 2


@pytest.mark.check
@pytest.mark.parametrize("end", ["killed", "forged"])
def test_worker_when_the_earlier_worker_of_its_name_has_ended_then_starts(bench: Bench, end: str) -> None:
    if end == "killed":
        first = bench.start("w", UNITRANK_HEARTBEAT_GRACE="60")
        os.kill(first.process.pid, signal.SIGKILL)
        first.process.wait()
    else:
        bench.connection.set(keyspace.worker("w"), json.dumps({"name": "w", "pid": "x", "host": "elsewhere", "models": []}))
    bench.start("w", wait=False)

    assert bench.ended(bench.submit()).status == "succeeded"


def test_workers_when_not_named_then_no_two_have_one_name() -> None:
    first, second = (_options([])[0].name for _ in range(2))

    assert first != second


@pytest.mark.check
def test_worker_when_killed_then_its_child_goes_and_its_job_runs_elsewhere(bench: Bench, tmp_path: Path) -> None:
    first = bench.start("first")
    go = tmp_path / "go"
    id = bench.submit(["await", str(go)])
    bench.running(id)
    child = first.child()
    os.kill(first.process.pid, signal.SIGKILL)
    wait_until(lambda: gone(child), "the child goes with its parent")
    go.touch()
    bench.start("second")
    reaper = Reaper(bench.connection, Settings(heartbeat=0.2, heartbeat_grace=1, state=bench.state))
    wait_until(lambda: reaper.sweep() or bench.jobs.get(id).ended, "the loss is noticed")

    record = bench.ended(id)
    assert (record.status, record.attempt, record.worker) == ("succeeded", 2, "second")


@pytest.mark.check
def test_worker_when_it_comes_back_after_it_was_given_up_then_its_end_is_refused(bench: Bench, tmp_path: Path) -> None:
    worker = bench.start()
    go = tmp_path / "go"
    id = bench.submit(["await", str(go)])
    bench.running(id)
    child = psutil.Process(worker.child())
    child.suspend()
    bench.jobs.requeue(id, 1)
    attempt = bench.jobs.start(id, "another")
    go.touch()
    child.resume()
    next_one = bench.ended(bench.submit())

    assert (attempt, bench.status(id)) == (2, "running")
    assert next_one.status == "succeeded"


@pytest.mark.check
def test_worker_when_paused_and_given_up_then_wakes_up_too_late_to_change_anything(bench: Bench, tmp_path: Path) -> None:
    first = bench.start("first")
    go = tmp_path / "go"
    id = bench.submit(["await", str(go)])
    bench.running(id)
    asleep = [psutil.Process(first.process.pid), psutil.Process(first.child())]
    for process in asleep:
        process.suspend()
    go.touch()
    bench.start("second")
    reaper = Reaper(bench.connection, Settings(heartbeat=0.2, heartbeat_grace=1, state=bench.state))
    wait_until(lambda: reaper.sweep() or bench.jobs.get(id).ended, "the loss is noticed")
    record = bench.ended(id)
    for process in asleep:
        process.resume()
    # Each worker gets one job: the first must close its late run before it takes another.
    others = [bench.ended(bench.submit(["report", 0.3])) for _ in range(3)]
    bench.idle()

    assert (record.status, record.attempt, record.worker) == ("succeeded", 2, "second")
    assert bench.jobs.get(id) == record
    assert {other.status for other in others} == {"succeeded"}
    assert record.result is not None
    kept = bench.connection.zrange(keyspace.chunk_owners(record.result["summary"]), 0, -1)
    assert kept == [record.result["owner"].encode()]


@pytest.mark.check
def test_turns_when_one_owner_floods_then_another_waits_for_two_jobs_at_most(bench: Bench) -> None:
    bench.start()
    flood = [bench.jobs.create(REQUEST, bench.resolved, owner="flood") for _ in range(200)]
    for record in flood:
        enqueue_job(bench.connection, record)
    wait_until(lambda: bench.jobs.get(flood[3].id).ended, "the flood has begun")
    other = bench.jobs.create(REQUEST, bench.resolved, owner="other")
    enqueue_job(bench.connection, other)
    queued = time.time()
    bench.ended(other.id)
    for record in flood:
        bench.ended(record.id)

    began = [bench.jobs.get(record.id).started_at or 0 for record in flood]
    # Jobs that ran at that moment had begun before it.
    assert sum(queued < moment < (bench.jobs.get(other.id).started_at or 0) for moment in began) <= 2


@pytest.mark.check
def test_store_when_away_for_a_while_then_neither_job_nor_worker_is_lost(server: EmbeddedServer, tmp_path: Path) -> None:
    state = tmp_path / "state"
    go = tmp_path / "go"
    store = EmbeddedServer(state)
    store.start()
    connection = connect(store.url, 30)
    bench = Bench(store.url, connection, state)
    try:
        bench.start()
        id = bench.submit(["await", str(go)], ["report", 1])
        bench.running(id)
        store.stop()
        go.touch()
        time.sleep(2)
        store.start()

        assert (bench.ended(id).status, bench.ended(id).attempt) == ("succeeded", 1)
        assert bench.ended(bench.submit()).status == "succeeded"
    finally:
        bench.close()
        connection.close()
        store.stop()


@pytest.mark.check
def test_child_when_killed_while_the_store_is_away_then_its_worker_waits_and_goes_on(
    server: EmbeddedServer, tmp_path: Path
) -> None:
    state, go = tmp_path / "state", tmp_path / "go"
    store = EmbeddedServer(state)
    store.start()
    connection = connect(store.url, 30)
    bench = Bench(store.url, connection, state)
    try:
        worker = bench.start()
        id = bench.submit(["await", str(go)])
        bench.running(id)
        store.stop()
        os.kill(worker.child(), signal.SIGKILL)
        go.touch()
        time.sleep(2)
        store.start()

        assert (bench.ended(id).status, bench.ended(id).attempt) == ("succeeded", 2)
        assert worker.process.poll() is None
    finally:
        bench.close()
        connection.close()
        store.stop()


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.parametrize("stops", [False, True])
def test_store_when_away_for_long_at_the_end_of_a_job_then_the_job_is_not_lost(
    server: EmbeddedServer, tmp_path: Path, stops: bool
) -> None:
    go = tmp_path / "go"
    store = EmbeddedServer(tmp_path / "state")
    store.start()
    connection = connect(store.url, 30)
    bench = Bench(store.url, connection, tmp_path / "state")
    try:
        worker = bench.start()
        id = bench.submit(["await", str(go)], timeout=10)
        bench.running(id)
        store.stop()
        go.touch()
        if stops:
            worker.process.send_signal(signal.SIGTERM)
        time.sleep(80)  # longer than every timeout of a worker's commands to the store
        store.start()

        record = bench.ended(id)
        assert (record.status, record.attempt, record.losses) == ("succeeded", 1, 0)
        assert not stops or worker.process.wait(30) == 0
    finally:
        bench.close()
        connection.close()
        store.stop()


@pytest.mark.check
def test_worker_when_its_child_cannot_start_then_ends_at_once_and_takes_nothing(bench: Bench) -> None:
    id = bench.submit()
    worker = bench.start(engine="Broken", wait=False)

    assert worker.process.wait(30) == 1
    assert bench.status(id) == "queued"


def test_model_when_its_inspection_fails_then_is_rejected_and_waiting_jobs_fail(bench: Bench) -> None:
    assert inspected(bench, "Scripted")["code"] == "bad_archive"


@pytest.mark.check
def test_model_when_it_kills_its_inspector_twice_then_is_rejected(bench: Bench) -> None:
    assert inspected(bench, "KilledByInspection")["code"] == "worker_lost"
    assert JobStore(bench.connection, kind="inspection").list()[0][0].attempt == 2


@pytest.mark.check
@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not limit it")
def test_job_when_it_asks_for_too_much_memory_then_fails_and_its_child_lives(bench: Bench) -> None:
    worker = bench.start(UNITRANK_CHILD_MEMORY_BYTES=str(2**30))
    child = worker.child()
    record = bench.ended(bench.submit(["take", 2**31]))

    assert (record.problem or {})["code"] == "out_of_memory"
    assert worker.child() == child
    assert Path(f"/proc/{child}/oom_score_adj").read_text().strip() == "1000"


def test_result_when_the_store_is_full_then_the_job_fails_and_may_be_sent_again(bench: Bench, tmp_path: Path) -> None:
    bench.start()
    go = tmp_path / "go"
    id = bench.submit(["await", str(go)])
    bench.running(id)
    limit = bench.connection.config_get("maxmemory")["maxmemory"]
    bench.connection.config_set("maxmemory", int(bench.connection.info("memory")["used_memory"] * 1.05))
    old = time.monotonic() + REUSE_SECONDS
    wait_until(lambda: time.monotonic() > old, "the worker reads the memory again")
    try:
        go.touch()
        record = bench.ended(id)
    finally:
        bench.connection.config_set("maxmemory", limit)

    assert record.status == "failed"
    assert record.problem is not None
    assert (record.problem["code"], record.problem["retryable"]) == ("storage_full", True)


@pytest.mark.parametrize("pid", [-1, 2**80])
def test_worker_when_its_name_was_forged_then_starts_all_the_same(bench: Bench, pid: int) -> None:
    workers = WorkerRegistry(bench.connection, 60)
    workers.beat(WorkerEntry("w", JOBS, "cpu", pid, socket.gethostname(), time.time(), time.time()))

    assert living_namesake(workers, "w") is None
