"""Workers count their events in the store, where the service reads them."""

import threading
from pathlib import Path

import pytest

from tests.support.polling import wait_until
from tests.worker.process.conftest import Bench
from unitrank_store.observability.counters import CounterValues, read
from unitrank_store.recovery.reaper import Reaper
from unitrank_store.redis import keyspace
from unitrank_store.settings import Settings

pytestmark = pytest.mark.check


def counted(bench: Bench) -> CounterValues:
    return read(bench.connection.hgetall(keyspace.counters()))


def test_child_when_it_dies_then_its_end_and_the_lost_attempt_are_counted(bench: Bench, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    bench.start()
    id = bench.submit(["mark", str(mark)], ["die_once", str(mark)])
    bench.summary(id)

    assert (counted(bench).child_ended, counted(bench).lost) == ({"lost": 1}, {"job": 1})


def test_worker_when_it_is_killed_then_the_reaper_counts_the_lost_attempt(bench: Bench, tmp_path: Path) -> None:
    worker = bench.start()
    id = bench.submit(["await", str(tmp_path / "never")])
    bench.running(id)
    worker.end()
    settings = Settings(redis_url=bench.url, state=tmp_path, heartbeat=0.2, heartbeat_grace=1, reaper_interval=0.1)
    stop = threading.Event()
    thread = threading.Thread(target=Reaper(bench.connection, settings).run, args=[stop])
    thread.start()
    try:
        wait_until(lambda: bench.status(id) == "queued", "the job is queued again")
    finally:
        stop.set()
        thread.join()

    assert counted(bench).lost == {"job": 1}
