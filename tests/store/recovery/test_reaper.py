"""The reaper: no accepted record stays lost."""

import math
import threading

import pytest
import redis
from rq import Queue
from rq.serializers import JSONSerializer

from tests.store.recovery.conftest import LASTING, SETTINGS, uploaded
from tests.support.clock import Clock
from tests.support.polling import wait_until
from unitrank_store.blobs.blob_store import BlobStore
from unitrank_store.contents.models import ModelStore
from unitrank_store.jobs.job_store import JobStore
from unitrank_store.jobs.record import JobRecord
from unitrank_store.jobs.records import RecordTable
from unitrank_store.queue.rq_queue import depth, enqueue_inspection, enqueue_job, queue_of, transport_id, waiting_ids
from unitrank_store.queue.safe_job import SafeJob
from unitrank_store.recovery.reaper import TRIES_PER_SWEEP, Reaper, doubt_seconds, lock_seconds
from unitrank_store.redis import keyspace
from unitrank_store.settings import Settings
from unitrank_store.worker_registry import WorkerEntry, WorkerRegistry
from unitrank_worker.process.heartbeat import AGAIN_SHARE


def beat(connection: redis.Redis, job: str | None) -> None:
    """Register a worker `a` that stays alive during the test."""
    entry = WorkerEntry("a", "unitrank-jobs", "cpu", pid=1, host="h", started_at=1.0, seen_at=1.0, job=job)
    WorkerRegistry(connection, lost_after=60).beat(entry)


def sweep(reaper: Reaper, clock: Clock) -> list[str]:
    """Return the statuses of the records that are repaired after a finding has lasted."""
    assert reaper.sweep() == []
    clock.advance(LASTING)
    return [record.status for record in reaper.sweep()]


def test_record_when_queued_but_in_no_queue_then_is_pushed_again(
    connection: redis.Redis, jobs: JobStore, reaper: Reaper, clock: Clock
) -> None:
    record = jobs.create({})

    assert sweep(reaper, clock) == ["queued"]
    assert transport_id(record.id, 0) in waiting_ids(connection, "job")
    assert sweep(reaper, clock) == []


def test_record_when_it_is_not_lost_then_does_not_change(
    connection: redis.Redis, jobs: JobStore, reaper: Reaper, clock: Clock
) -> None:
    enqueue_job(connection, jobs.create({}))
    jobs.create({}, waiting_for=["model:x"])
    running = jobs.create({}).id
    jobs.start(running, "a")
    beat(connection, running)

    assert sweep(reaper, clock) == []
    assert depth(connection) == 1


def test_record_when_taken_out_by_a_worker_that_died_then_is_pushed_again(
    connection: redis.Redis, jobs: JobStore, reaper: Reaper, clock: Clock
) -> None:
    record = jobs.create({})
    enqueue_job(connection, record)
    queue = queue_of(connection, "job")
    Queue.dequeue_any([queue], None, connection, job_class=SafeJob, serializer=JSONSerializer)

    assert sweep(reaper, clock) == ["queued"]
    assert transport_id(record.id, 0) in waiting_ids(connection, "job")
    assert connection.llen(queue.intermediate_queue_key) == 0


def test_record_when_a_live_worker_waits_for_a_child_to_start_it_then_is_not_lost(
    connection: redis.Redis, jobs: JobStore, reaper: Reaper, clock: Clock
) -> None:
    id = jobs.create({}).id
    assert reaper.sweep() == []
    # The worker's entry names the record a little later than the worker takes it.
    clock.advance(AGAIN_SHARE * SETTINGS.heartbeat)
    beat(connection, id)
    while_it_waits = [sweep(reaper, clock) for _ in range(5)]
    beat(connection, None)

    assert while_it_waits == [[]] * 5
    assert sweep(reaper, clock) == ["queued"]


@pytest.mark.parametrize("alive", [False, True])
def test_job_when_its_worker_is_lost_or_runs_another_then_is_queued_once_more(
    connection: redis.Redis, jobs: JobStore, reaper: Reaper, clock: Clock, alive: bool
) -> None:
    id = jobs.create({}).id
    late = jobs.start(id, "a") or 0
    if alive:
        beat(connection, "another")
    assert sweep(reaper, clock) == ["queued"]
    jobs.start(id, "a")
    assert not jobs.finish(id, late, "succeeded")

    assert sweep(reaper, clock) == ["failed"]
    assert (jobs.get(id).problem or {})["code"] == "worker_lost"


def test_job_when_its_worker_does_not_end_it_then_is_cancelled(
    connection: redis.Redis, jobs: JobStore, reaper: Reaper, clock: Clock
) -> None:
    id = jobs.create({}).id
    jobs.start(id, "a")
    beat(connection, id)
    jobs.cancel(id)

    assert sweep(reaper, clock) == ["cancelled"]


def test_finding_when_it_ends_then_nothing_is_given_up(
    connection: redis.Redis, jobs: JobStore, reaper: Reaper, clock: Clock
) -> None:
    id = jobs.create({}).id
    jobs.start(id, "a")
    assert reaper.sweep() == []
    beat(connection, id)  # after an outage of the store, the worker sends a heartbeat again
    clock.advance(LASTING)

    assert reaper.sweep() == []
    assert jobs.get(id).status == "running"


def test_queue_when_it_is_long_then_only_other_records_are_read(
    connection: redis.Redis, jobs: JobStore, reaper: Reaper, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    read_ids: list[str] = []
    glance = RecordTable.glance
    monkeypatch.setattr(RecordTable, "glance", lambda self, ids: read_ids.extend(ids) or glance(self, ids))
    for _ in range(20):
        enqueue_job(connection, jobs.create({}))
    running, lost = jobs.create({}), jobs.create({})
    enqueue_job(connection, running)
    jobs.start(running.id, "a")
    beat(connection, running.id)
    # The first sweep also collects garbage, and reads all records.
    reaper.sweep()
    read_ids.clear()
    reaper.sweep()

    assert sorted(read_ids) == sorted([running.id, lost.id])


def test_reaper_when_it_stops_then_another_takes_its_place_at_once(connection: redis.Redis) -> None:
    stop = threading.Event()
    thread = threading.Thread(target=Reaper(connection, SETTINGS.model_copy(update={"reaper_interval": 0.3})).run, args=[stop])
    thread.start()
    wait_until(lambda: connection.exists(keyspace.reaper_lock()), "the reaper holds the lock")
    stop.set()
    thread.join()

    assert not connection.exists(keyspace.reaper_lock())


def test_lost_worker_with_default_settings_is_noticed_within_30_seconds() -> None:
    settings = Settings()
    interval = settings.reaper_interval
    # The worker dies right after a heartbeat, and a sweep was just before the heartbeat expires.
    first_seen_lost = settings.heartbeat_grace + interval
    given_up = first_seen_lost + math.ceil(doubt_seconds(settings) / interval) * interval
    # The reaper dies right before the last sweep. Another process has just tried to take the lock,
    # which is held since the sweep before.
    taken_over = given_up - interval + lock_seconds(settings) + interval / TRIES_PER_SWEEP
    given_up_by_successor = taken_over + math.ceil(doubt_seconds(settings) / interval) * interval

    assert (given_up, given_up_by_successor) == (21, 28)
    # After an outage all heartbeats have expired. Each worker sends one before it counts as lost.
    assert doubt_seconds(settings) > 3 * AGAIN_SHARE * settings.heartbeat
    # Two heartbeats may get lost.
    assert settings.heartbeat * 3 <= settings.heartbeat_grace


def test_job_when_it_starts_during_the_sweep_then_does_not_change(
    connection: redis.Redis, jobs: JobStore, reaper: Reaper, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    id = jobs.create({}).id
    assert reaper.sweep() == []
    clock.advance(LASTING)
    read = JobStore.get_many

    def read_late(self: JobStore, ids: list[str]) -> list[JobRecord]:
        if id in ids and read(jobs, [id])[0].status == "queued":
            monkeypatch.setattr(JobStore, "get_many", read)
            jobs.start(id, "a")
        return read(self, ids)

    monkeypatch.setattr(JobStore, "get_many", read_late)

    assert reaper.sweep() == []
    assert (jobs.get(id).status, jobs.get(id).attempt) == ("running", 1)


@pytest.mark.parametrize("between", ["outage", "another"])
def test_finding_when_sweeps_were_interrupted_then_starts_again(
    connection: redis.Redis, jobs: JobStore, reaper: Reaper, clock: Clock, monkeypatch: pytest.MonkeyPatch, between: str
) -> None:
    jobs.start(jobs.create({}).id, "a")
    assert reaper.sweep() == []
    if between == "outage":
        with monkeypatch.context() as patch:
            patch.setattr(WorkerRegistry, "list", _away)
            with pytest.raises(redis.exceptions.ConnectionError):
                reaper.sweep()
    else:
        connection.set(keyspace.reaper_lock(), "another", px=60_000)
        assert reaper.sweep() == []
        connection.delete(keyspace.reaper_lock())
    clock.advance(LASTING)

    assert sweep(reaper, clock) == ["queued"]


def _away(self: WorkerRegistry) -> None:
    raise redis.exceptions.ConnectionError("away")


def test_model_when_its_inspection_is_lost_twice_then_is_rejected(
    connection: redis.Redis, settings: Settings, reaper: Reaper, clock: Clock
) -> None:
    models = ModelStore(connection, BlobStore.of(settings))
    digest = uploaded(settings)
    model = models.begin("m", digest, 5, "1").record
    inspections = JobStore(connection, kind="inspection")
    id = enqueue_inspection(connection, model, settings).id
    for _ in range(2):
        inspections.start(id, "a")
        sweep(reaper, clock)

    assert models.get("m").status == "rejected"
    assert (models.get("m").problem or {})["code"] == "worker_lost"


def test_reaper_when_another_holds_the_lock_then_does_nothing(connection: redis.Redis, jobs: JobStore, clock: Clock) -> None:
    first, second = (Reaper(connection, SETTINGS, clock) for _ in range(2))
    first.sweep()
    jobs.create({})

    assert sweep(second, clock) == []
    assert sweep(first, clock) == ["queued"]
