"""Corrupt keys: the reaper deletes keys with a wrong type, and the queue continues."""

from pathlib import Path

import pytest
import redis

from tests.support.clock import Clock
from unitrank_store.jobs.job_store import JobStore
from unitrank_store.jobs.reservations import reserved
from unitrank_store.observability.snapshot import take_snapshot
from unitrank_store.queue.rq_queue import INSPECTIONS, JOBS, enqueue_job, transport_id, waiting_ids
from unitrank_store.recovery.corrupt_keys import delete_corrupt_keys
from unitrank_store.recovery.reaper import Reaper
from unitrank_store.redis import keyspace
from unitrank_store.settings import Settings

KEYS = [
    keyspace.reaper_lock(),
    keyspace.workers(),
    keyspace.counters(),
    keyspace.unpublished(),
    keyspace.reservations(),
    keyspace.blob_sizes(),
    keyspace.live_records("job"),
    keyspace.live_records("inspection"),
    keyspace.records_by_status("job", "running"),
    keyspace.entered("job"),
    "rq:wip:" + JOBS,
    "rq:queue:" + JOBS + ":intermediate",
    *(
        name
        for queue in (JOBS, INSPECTIONS)
        for name in (
            keyspace.rq_queue(queue),
            keyspace.owners_in_line(queue),
            keyspace.last_turn(queue),
            keyspace.turns(queue),
            keyspace.arrivals(queue),
            keyspace.line(queue, "x", "high"),
        )
    ),
]


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("junk", ["string", "other"])
def test_key_when_of_a_wrong_type_then_the_reaper_and_the_queue_go_on(
    connection: redis.Redis, tmp_path: Path, key: str, junk: str
) -> None:
    jobs = JobStore(connection)
    clock = Clock()
    reaper = Reaper(connection, Settings(state=tmp_path), clock)
    if junk == "string":
        connection.set(key, "junk")
    else:
        connection.pfadd(key, "junk") if key in (keyspace.turns(JOBS), keyspace.arrivals(JOBS)) else connection.xadd(
            key, {"a": "b"}
        )
    for queue in (JOBS, INSPECTIONS):
        if ":x:" in key:
            connection.zadd(keyspace.owners_in_line(queue), {"x": -1})
    reaper.sweep()
    lost, queued = jobs.create({}, reserves=1), jobs.create({}, owner="x")
    enqueue_job(connection, queued)
    reaper.sweep()
    clock.advance(Settings().heartbeat)
    reaper.sweep()

    assert waiting_ids(connection, "job") == {transport_id(record.id, 0) for record in (lost, queued)}
    assert take_snapshot(connection).records["job"]["queued"] == 2


@pytest.mark.parametrize(
    ("field", "value"), [("all", "junk"), ("all", "-5"), ("gone", "70"), ("new", "1.5"), ("old", "9" * 30), ("old", "junk")]
)
def test_reservations_when_forged_then_jobs_still_start_and_end_and_the_sum_is_corrected(
    connection: redis.Redis, tmp_path: Path, field: str, value: str
) -> None:
    jobs = JobStore(connection)
    old = jobs.create({}, id="old", reserves=10, owner="x").id
    connection.hset(keyspace.reservations(), field, value)
    new = jobs.create({}, id="new", reserves=100, owner="x").id
    assert reserved(connection) >= 0
    jobs.cancel(old)
    assert connection.ttl(keyspace.record("job", old)) > 0
    assert jobs.demand("x").unfinished == 1
    Reaper(connection, Settings(state=tmp_path)).sweep()

    assert reserved(connection) == (0 if field == "new" else 100)
    jobs.cancel(new)
    Reaper(connection, Settings(state=tmp_path)).sweep()
    assert (reserved(connection), jobs.demand("x").unfinished) == (0, 0)


@pytest.mark.parametrize("value", ["9" * 30, "--5", "\u0663", "1.5"])
def test_counter_when_malformed_then_the_queue_continues(connection: redis.Redis, tmp_path: Path, value: str) -> None:
    jobs = JobStore(connection)
    for name in (keyspace.turns, keyspace.arrivals):
        connection.set(name(JOBS), value)
    Reaper(connection, Settings(state=tmp_path)).sweep()
    enqueue_job(connection, jobs.create({}))

    assert len(waiting_ids(connection, "job")) == 1


def test_keys_when_valid_then_do_not_change(connection: redis.Redis, tmp_path: Path) -> None:
    jobs = JobStore(connection)
    Reaper(connection, Settings(state=tmp_path)).sweep()
    for _ in range(3):
        enqueue_job(connection, jobs.create({}, owner="x"))
    before = {key: connection.dump(key) for key in connection.scan_iter()}
    delete_corrupt_keys(connection)

    assert {key: connection.dump(key) for key in connection.scan_iter()} == before
