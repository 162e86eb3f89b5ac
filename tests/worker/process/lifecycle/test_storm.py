"""Children are killed and jobs cancelled at random moments: each job ends once, with a reason."""

import os
import random
import signal
import time
from contextlib import suppress

import psutil
import pytest

from tests.support.polling import wait_until
from tests.worker.process.conftest import Bench
from unitrank_store.jobs.record import ENDED
from unitrank_store.recovery.reaper import Reaper
from unitrank_store.settings import Settings

pytestmark = pytest.mark.check

JOBS = 30
KILLS = 6


def kill_a_child(bench: Bench) -> None:
    with suppress(psutil.NoSuchProcess, ProcessLookupError, ValueError):
        os.kill(bench.workers[-1].child(), signal.SIGKILL)


def keep_alive(bench: Bench) -> None:
    """Start ended workers again, as the supervisor does.

    A worker ends if its child is killed during its start.
    """
    if bench.workers[-1].process.poll() is not None:
        bench.start(wait=False)


@pytest.mark.check
def test_jobs_when_children_die_and_cancels_rain_then_each_ends_once_and_for_a_reason(bench: Bench) -> None:
    chance = random.Random(0)
    bench.start()
    reaper = Reaper(bench.connection, Settings(heartbeat=0.2, heartbeat_grace=1, state=bench.state))
    ids = [bench.submit(["report", chance.uniform(0, 0.1)]) for _ in range(JOBS)]
    cancelled = set(chance.sample(ids, 6))
    waiting = list(cancelled)
    for _ in range(KILLS):
        time.sleep(chance.uniform(0.05, 0.5))
        bench.jobs.cancel(waiting.pop())
        kill_a_child(bench)
        keep_alive(bench)
    wait_until(lambda: [keep_alive(bench), reaper.sweep(), bench.jobs.live()][-1] == {}, "all have ended")

    records = [bench.jobs.get(id) for id in ids]
    assert {record.status for record in records} <= set(ENDED)
    assert all(record.attempt <= 2 for record in records)
    assert all(record.id in cancelled for record in records if record.status == "cancelled")
    assert all((record.problem or {})["code"] == "worker_lost" for record in records if record.status == "failed")
    assert all((record.result is not None) == (record.status == "succeeded") for record in records)
