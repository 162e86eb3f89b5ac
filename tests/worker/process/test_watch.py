"""The watch of a running job: when its child must be killed."""

from collections.abc import Sequence

import pytest
import redis

from tests.support.clock import Clock
from unitrank_store.jobs.job_store import JobStore
from unitrank_store.jobs.record import JobRecord
from unitrank_store.jobs.records import RecordState
from unitrank_worker.process.watch import CANCEL_SECONDS, CLOSING_SECONDS, START_SECONDS, KillReason, RunWatch


class Flaky(JobStore):
    """Records in a store that does not always answer."""

    def __init__(self, jobs: JobStore) -> None:
        self._jobs = jobs
        self.away = False

    def get_many(self, ids: Sequence[str]) -> list[JobRecord]:
        return self._jobs.get_many(ids)

    def state(self, id: str) -> RecordState | None:
        if self.away:
            raise redis.exceptions.ConnectionError
        return self._jobs.state(id)


@pytest.fixture
def jobs(connection: redis.Redis) -> JobStore:
    return JobStore(connection)


@pytest.fixture
def clock() -> Clock:
    return Clock()


def after(watch: RunWatch, clock: Clock, seconds: float) -> tuple[KillReason | None, KillReason | None]:
    """The watch's reasons a little before `seconds` are over, and when they are over."""
    assert watch.reason() is None
    clock.advance(seconds - 0.01)
    before = watch.reason()
    clock.advance(0.01)
    return before, watch.reason()


def test_run_when_it_never_starts_then_is_lost(jobs: JobStore, clock: Clock) -> None:
    watch = RunWatch(jobs, jobs.create({}).id, 1, "a", clock)

    assert after(watch, clock, START_SECONDS) == (None, "lost")


def test_run_when_it_starts_late_then_has_its_whole_time_from_there(jobs: JobStore, clock: Clock) -> None:
    id = jobs.create({"timeout": 5}).id
    watch = RunWatch(jobs, id, 1, "a", clock)
    clock.advance(100)
    jobs.start(id, "a")

    assert after(watch, clock, 5) == (None, "timed_out")


def test_run_when_the_child_was_quicker_than_the_watch_then_is_followed_all_the_same(jobs: JobStore, clock: Clock) -> None:
    id = jobs.create({"timeout": 5}).id
    jobs.start(id, "a")
    watch = RunWatch(jobs, id, 1, "a", clock)

    assert after(watch, clock, 5) == (None, "timed_out")


def test_run_when_cancelled_then_has_a_moment_to_end_before_the_kill(jobs: JobStore, clock: Clock) -> None:
    id = jobs.create({}).id
    watch = RunWatch(jobs, id, 1, "a", clock)
    jobs.start(id, "a")
    assert watch.reason() is None
    jobs.cancel(id)

    assert after(watch, clock, CANCEL_SECONDS) == (None, "cancelled")


def test_run_when_another_attempt_has_taken_its_place_then_is_given_up(jobs: JobStore, clock: Clock) -> None:
    id = jobs.create({}).id
    watch = RunWatch(jobs, id, 1, "a", clock)
    jobs.requeue(id, jobs.start(id, "a") or 0)
    jobs.start(id, "a")

    assert after(watch, clock, CLOSING_SECONDS) == (None, "given_up")


def test_run_when_another_worker_was_first_then_is_given_up(jobs: JobStore, clock: Clock) -> None:
    id = jobs.create({}).id
    watch = RunWatch(jobs, id, 1, "a", clock)
    jobs.start(id, "b")

    assert after(watch, clock, CLOSING_SECONDS) == (None, "given_up")


@pytest.mark.parametrize("exists", [True, False])
def test_run_when_its_record_has_ended_or_is_gone_then_is_given_up(jobs: JobStore, clock: Clock, exists: bool) -> None:
    id = jobs.create({}).id if exists else "nothing"
    watch = RunWatch(jobs, id, 1, "a", clock)
    if exists:
        jobs.cancel(id)

    assert after(watch, clock, CLOSING_SECONDS) == (None, "given_up")


def test_run_when_the_store_does_not_answer_then_that_time_does_not_count(jobs: JobStore, clock: Clock) -> None:
    id = jobs.create({"timeout": 5}).id
    jobs.start(id, "a")
    flaky = Flaky(jobs)
    watch = RunWatch(flaky, id, 1, "a", clock)
    assert watch.reason() is None
    flaky.away = True
    for _ in range(100):
        clock.advance(1)
        assert watch.reason() is None
    flaky.away = False

    assert after(watch, clock, 5) == (None, "timed_out")


def test_run_when_its_child_has_used_the_cpu_time_then_is_too_slow(jobs: JobStore, clock: Clock) -> None:
    """Seconds before the run starts do not count, nor does waiting."""
    id = jobs.create({"cpu_seconds": 5}).id
    cpu = Clock()
    cpu.advance(100)
    watch = RunWatch(jobs, id, 1, "a", clock, cpu)
    jobs.start(id, "a")
    clock.advance(1000)

    assert after(watch, cpu, 5) == (None, "too_slow")
