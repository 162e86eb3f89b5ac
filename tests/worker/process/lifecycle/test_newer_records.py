"""A worker that takes a job of a newer service leaves it; the reaper offers it again."""

import json

import pytest

from tests.support.polling import wait_until
from tests.worker.process.conftest import Bench
from unitrank_store.queue.rq_queue import depth
from unitrank_store.recovery.reaper import Reaper
from unitrank_store.redis import keyspace
from unitrank_store.settings import Settings


@pytest.mark.check
def test_job_when_its_worker_is_too_old_then_is_offered_until_a_newer_worker_takes_it(bench: Bench) -> None:
    reaper = Reaper(bench.connection, Settings(state=bench.state, heartbeat=0.2, heartbeat_grace=1))
    newer = bench.resolved | {"options": ["layer", "execution=elsewhere"]}
    present, bench.resolved = bench.resolved, newer
    id = bench.submit()
    bench.start()
    for _ in range(2):
        wait_until(lambda: depth(bench.connection) == 0, "the worker has taken the job")
        wait_until(lambda: [record.id for record in reaper.sweep()] == [id], "the reaper offers the job again")
    bench.resolved = present
    other = bench.submit()
    assert bench.ended(other).status == "succeeded"
    waiting = bench.jobs.get(id)
    # From now on the worker is new enough.
    bench.connection.hset(keyspace.record("job", id), "resolved", json.dumps(present))
    wait_until(lambda: reaper.sweep() or bench.jobs.get(id).ended, "the job is offered again, or has ended")

    assert (waiting.status, waiting.attempt, waiting.losses) == ("queued", 0, 0)
    assert bench.ended(id).status == "succeeded"
    assert bench.jobs.get(id).losses == 0
