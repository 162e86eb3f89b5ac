"""A job that is cancelled at any moment ends once, and leaves no stored bytes behind."""

import json
import random
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from tests.support.clock import Clock
from tests.support.polling import wait_until
from tests.worker.process.conftest import Bench, Running, cancel, gone
from tests.worker.process.lifecycle.test_counters import counted
from unitrank_store.jobs.record import ENDED
from unitrank_store.queue.rq_queue import depth
from unitrank_store.recovery.reaper import Reaper
from unitrank_store.redis import keyspace
from unitrank_store.redis.decoding import texts
from unitrank_store.settings import Settings
from unitrank_store.worker_registry import WorkerRegistry

MANY = 1000


def ends(bench: Bench, id: str) -> list[str]:
    """Each published end of the job."""
    entries = bench.connection.xrange(keyspace.events("job", id))
    statuses = [json.loads(fields[b"data"])["status"] for _, fields in entries if fields[b"kind"] == b"status"]
    return [status for status in statuses if status in ENDED]


def kept(bench: Bench) -> set[str]:
    """The jobs that stored summaries and arrays belong to."""
    keys = texts(list(bench.connection.scan_iter(keyspace.chunk_owners("*"))))
    return {owner for key in keys for owner in texts(bench.connection.zrange(key, 0, -1))}


def cold_start(bench: Bench) -> tuple[Path, Running]:
    """A worker without a warm child: its next child waits for the returned file."""
    warm = bench.blobs.spool / "warm"
    warm.parent.mkdir(parents=True, exist_ok=True)
    warm.touch()
    worker = bench.start(engine="Cold")
    warm.unlink()
    child = psutil.Process(worker.child())
    child.kill()
    wait_until(lambda: gone(child.pid), "the warm child ends")
    return warm, worker


def queued(bench: Bench, folder: Path) -> tuple[str, Callable[[], object]]:
    bench.running(bench.submit(["await", str(folder / "go")]))
    return bench.submit(), (folder / "go").touch


def popped(bench: Bench, folder: Path) -> tuple[str, Callable[[], object]]:
    bench.ended(bench.submit())
    bench.idle()
    child = psutil.Process(bench.workers[0].child())
    child.suspend()
    id = bench.submit()
    wait_until(lambda: depth(bench.connection) == 0, "the job has left the queue")
    return id, child.resume


def loading(bench: Bench, folder: Path) -> tuple[str, Callable[[], object]]:
    id = bench.submit(["await", str(folder / "go")])
    bench.running(id)
    return id, (folder / "go").touch


def running(bench: Bench, folder: Path) -> tuple[str, Callable[[], object]]:
    id = bench.submit(["report", 60])
    wait_until(lambda: bench.jobs.get(id).progress is not None, "progress")
    return id, lambda: None


def writing(bench: Bench, folder: Path) -> tuple[str, Callable[[], object]]:
    id = bench.submit(metadata={"do": [], "folder": str(folder)})
    wait_until((folder / "writing").exists, "the result is being written")
    return id, (folder / "go").touch


@pytest.mark.parametrize(
    "stage", [queued, running, *(pytest.param(stage, marks=pytest.mark.check) for stage in (popped, loading, writing))]
)
def test_job_when_cancelled_at_any_stage_then_ends_once_and_leaves_nothing(
    bench: Bench, tmp_path: Path, stage: Callable[[Bench, Path], tuple[str, Callable[[], object]]]
) -> None:
    bench.start(engine="Slow")
    id, go_on = stage(bench, tmp_path)
    cancel(bench, id)
    go_on()
    record = bench.ended(id)
    bench.ended(bench.submit())
    bench.idle()

    record = bench.jobs.get(id)
    assert ends(bench, id) == [record.status]
    assert record.status in ("cancelled", "succeeded")
    assert (record.result is not None) == (record.status == "succeeded")
    assert kept(bench) == {job.result["owner"] for job in bench.jobs.list()[0] if job.result}


def test_result_when_its_job_is_given_up_before_its_end_then_is_deleted(bench: Bench, tmp_path: Path) -> None:
    bench.start(engine="Slow")
    id, go_on = writing(bench, tmp_path)
    child = psutil.Process(bench.workers[0].child())
    bench.jobs.requeue(id, 1)
    attempt = bench.jobs.start(id, "another")
    go_on()
    bench.ended(bench.submit())
    bench.idle()

    assert (attempt, bench.status(id)) == (2, "running")
    assert child.is_running()
    assert kept(bench) == {job.result["owner"] for job in bench.jobs.list()[0] if job.result}


@pytest.mark.check
def test_jobs_when_very_many_are_sent_and_cancelled_then_each_ends_once_and_no_process_is_left(bench: Bench) -> None:
    worker = bench.start()
    reaper = Reaper(bench.connection, Settings(heartbeat=0.2, heartbeat_grace=1, state=bench.state))

    def send_and_cancel(number: int) -> str:
        chance = random.Random(number)
        id = bench.submit(*([["report", 0.02]] if chance.random() < 0.1 else []))
        time.sleep(chance.uniform(0, 0.05))
        cancel(bench, id)
        return id

    with ThreadPoolExecutor(16) as pool:
        ids = list(pool.map(send_and_cancel, range(MANY)))
    wait_until(lambda: reaper.sweep() or bench.jobs.live() == {}, "all have ended")
    last = bench.ended(bench.submit())
    bench.idle()

    assert last.status == "succeeded"
    assert Counter(len(ends(bench, id)) for id in ids) == {1: MANY}
    assert {bench.status(id) for id in ids} <= {"cancelled", "succeeded"}
    below = psutil.Process(worker.process.pid).children(recursive=True)
    # The second one is the spare.
    assert [process.status() == psutil.STATUS_ZOMBIE for process in below] == [False, False]


@pytest.mark.parametrize("how", ["cancelled", pytest.param("deleted", marks=pytest.mark.check)])
def test_job_when_cancelled_while_the_child_is_cold_then_never_runs(bench: Bench, tmp_path: Path, how: str) -> None:
    mark = tmp_path / "mark"
    warm, _ = cold_start(bench)
    id = bench.submit(["mark", str(mark)])
    wait_until(lambda: depth(bench.connection) == 0, "the job has left the queue")
    cancel(bench, id)
    if how == "deleted":
        bench.jobs.delete(id)
    warm.touch()

    assert bench.summary(bench.submit())["runs"] == 1
    assert not mark.exists()


@pytest.mark.check
def test_child_when_its_job_ends_before_it_has_started_then_runs_the_next_job(bench: Bench) -> None:
    warm, worker = cold_start(bench)
    first = bench.submit()
    wait_until(lambda: depth(bench.connection) == 0, "the job has left the queue")
    second = bench.submit()
    wait_until(worker.children, "the child starts")
    child = worker.child()
    cancel(bench, first)
    wait_until(lambda: depth(bench.connection) == 0, "the worker gives the first job up")
    warm.touch()

    assert bench.summary(second)["pid"] == child
    assert counted(bench).child_ended == {}


@pytest.mark.check
def test_job_when_its_child_starts_slowly_then_the_reaper_leaves_it_to_its_worker(bench: Bench) -> None:
    warm, _ = cold_start(bench)
    id = bench.submit()
    clock = Clock()
    reaper = Reaper(bench.connection, Settings(state=bench.state), clock)
    workers = WorkerRegistry(bench.connection)
    wait_until(lambda: workers.list()[0].job == id, "the worker's entry names the job")
    repaired = []
    for _ in range(5):
        repaired += reaper.sweep()
        clock.advance(10)
    warm.touch()

    assert repaired == []
    assert bench.ended(id).attempt == 1
