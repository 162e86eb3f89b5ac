"""The promised times: how soon a lost child and a lost worker are noticed."""

import json
import os
import signal
import threading
import time
from pathlib import Path

import pytest

from tests.support.polling import wait_until
from tests.worker.process.conftest import Bench
from unitrank_store.recovery.reaper import Reaper
from unitrank_store.redis import keyspace
from unitrank_store.settings import Settings

CHILD_SECONDS = 1.0
WORKER_SECONDS = 30.0


def put_back_at(bench: Bench, id: str) -> float:
    """Unix time at which the job's first attempt was given up, from its events."""
    events = [fields for _, fields in bench.connection.xrange(keyspace.events("job", id)) if fields[b"kind"] == b"status"]
    states = [json.loads(fields[b"data"]) for fields in events]
    return float(next(each["at"] for each in states[2:] if each["status"] == "queued"))


@pytest.mark.serial
def test_child_when_killed_then_its_worker_notices_within_a_second(bench: Bench, tmp_path: Path) -> None:
    worker = bench.start()
    go = tmp_path / "go"
    id = bench.submit(["await", str(go)])
    bench.running(id)
    killed = time.time()
    os.kill(worker.child(), signal.SIGKILL)
    go.touch()

    assert bench.ended(id).attempt == 2
    assert put_back_at(bench, id) - killed <= CHILD_SECONDS


@pytest.mark.slow
def test_worker_when_killed_then_its_job_runs_again_within_thirty_seconds(bench: Bench, tmp_path: Path) -> None:
    settings = Settings(state=bench.state)
    as_it_comes = {
        "UNITRANK_HEARTBEAT": str(settings.heartbeat),
        "UNITRANK_HEARTBEAT_GRACE": str(settings.heartbeat_grace),
    }
    first = bench.start("first", **as_it_comes)
    go = tmp_path / "go"
    id = bench.submit(["await", str(go)])
    bench.running(id)
    bench.start("second", **as_it_comes)
    stop = threading.Event()
    sweeping = threading.Thread(target=Reaper(bench.connection, settings).run, args=[stop])
    sweeping.start()
    try:
        # Right after a heartbeat, when noticing takes longest.
        lifetimes = [bench.connection.pttl(keyspace.worker("first"))]

        def has_beaten() -> bool:
            lifetimes.append(bench.connection.pttl(keyspace.worker("first")))
            return lifetimes[-1] > lifetimes[-2]

        wait_until(has_beaten, "the first worker sends a heartbeat")
        killed = time.time()
        os.kill(first.process.pid, signal.SIGKILL)
        go.touch()
        wait_until(lambda: bench.jobs.get(id).ended, "the job has ended", seconds=2 * WORKER_SECONDS)
    finally:
        stop.set()
        sweeping.join()

    record = bench.jobs.get(id)
    assert (record.status, record.attempt, record.worker) == ("succeeded", 2, "second")
    assert (record.started_at or 0) - killed <= WORKER_SECONDS
