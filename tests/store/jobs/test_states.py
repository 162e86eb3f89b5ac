"""The states of a job: each change is made once, by the process that may make it."""

import json
import threading

import pytest
import redis

from tests.support.servers.redis_server import memory_limit
from unitrank_store.jobs.job_store import JobStore
from unitrank_store.jobs.record import ENDED, Status
from unitrank_store.redis import keyspace

PROBLEM = {"code": "non_finite", "title": "t", "detail": "d", "status": 422, "retryable": False}


def test_job_when_run_then_goes_from_queued_over_running_to_its_end(jobs: JobStore) -> None:
    id = jobs.create({"model": "m"}).id
    attempt = jobs.start(id, "cpu-0")
    assert attempt == 1
    running = jobs.get(id)
    assert jobs.finish(id, attempt, "succeeded", result={"summary": "sha"})
    ended = jobs.get(id)

    assert (running.status, running.worker) == ("running", "cpu-0")
    assert running.started_at is not None
    assert (ended.status, ended.result, ended.problem) == ("succeeded", {"summary": "sha"}, None)
    assert ended.expires_at is not None
    assert ended.finished_at is not None
    assert ended.expires_at - ended.finished_at == pytest.approx(jobs.result_ttl)


def test_job_when_started_twice_then_only_one_gets_it(jobs: JobStore) -> None:
    id = jobs.create({}).id

    attempts = [jobs.start(id, "a"), jobs.start(id, "b")]

    assert attempts == [1, None]
    assert jobs.get(id).worker == "a"


def test_job_when_begun_then_the_record_is_that_of_the_running_attempt(jobs: JobStore) -> None:
    id = jobs.create({"model": "m"}, {"flops": 1}).id
    record = jobs.begin(id, "cpu-0", 1)

    assert record == jobs.get(id)
    assert (record.status, record.attempt, record.worker) == ("running", 1, "cpu-0")


@pytest.mark.parametrize("number", [0, 2])
def test_job_when_begun_for_another_attempt_then_does_not_start(jobs: JobStore, number: int) -> None:
    id = jobs.create({}).id

    assert jobs.begin(id, "cpu-0", number) is None
    assert jobs.begin("missing", "cpu-0", number) is None
    assert jobs.get(id).status == "queued"


def test_job_when_cancelled_before_its_start_then_never_runs(jobs: JobStore) -> None:
    id = jobs.create({}).id

    assert jobs.cancel(id).status == "cancelled"
    assert jobs.start(id, "a") is None


def test_job_when_cancelled_while_it_runs_then_its_worker_ends_it(jobs: JobStore) -> None:
    id = jobs.create({}).id
    attempt = jobs.start(id, "a") or 0
    cancelling = jobs.cancel(id)

    assert (cancelling.status, cancelling.cancel_requested) == ("cancelling", True)
    assert jobs.cancel(id) == cancelling
    assert jobs.progress(id, attempt, {"done": 1}) == "cancel"
    assert jobs.finish(id, attempt, "cancelled")
    assert jobs.get(id).status == "cancelled"


@pytest.mark.parametrize("status", ENDED)
def test_job_when_ended_then_nothing_changes_it(jobs: JobStore, status: Status) -> None:
    id = jobs.create({}).id
    attempt = jobs.start(id, "a") or 0
    jobs.finish(id, attempt, status)
    ended = jobs.get(id)

    other_statuses: set[Status] = set(ENDED) - {status}
    assert not any(jobs.finish(id, attempt, other_status) for other_status in other_statuses)
    assert jobs.progress(id, attempt, {}) == "fenced"
    assert jobs.start(id, "b") is None
    assert jobs.requeue(id, attempt) == ended
    assert jobs.cancel(id) == ended


def test_finish_when_repeated_because_its_reply_was_lost_then_changes_nothing(jobs: JobStore) -> None:
    id = jobs.create({}).id
    attempt = jobs.start(id, "a") or 0

    assert [jobs.finish(id, attempt, "succeeded") for _ in range(2)] == [True, True]
    assert jobs.get(id).version == 3


def test_attempt_when_given_up_then_its_late_writes_are_refused(jobs: JobStore) -> None:
    id = jobs.create({}).id
    late = jobs.start(id, "a") or 0
    assert jobs.requeue(id, late).status == "queued"
    current = jobs.start(id, "b") or 0

    assert (late, current) == (1, 2)
    assert jobs.progress(id, late, {"done": 9}) == "fenced"
    assert not jobs.finish(id, late, "succeeded")
    assert jobs.requeue(id, late).status == "running"
    assert jobs.progress(id, current, {"done": 1}) == "written"
    assert jobs.get(id).progress == {"done": 1}


def test_job_when_it_loses_a_second_process_then_fails_and_may_be_sent_again(jobs: JobStore) -> None:
    id = jobs.create({}).id
    for _ in range(2):
        jobs.requeue(id, jobs.start(id, "a") or 0)
    record = jobs.get(id)

    assert (record.status, record.attempt, record.losses) == ("failed", 2, 2)
    assert record.problem is not None
    assert (record.problem["code"], record.problem["retryable"]) == ("worker_lost", True)
    assert jobs.start(id, "a") is None


def test_job_when_its_process_is_stopped_on_purpose_then_it_is_not_a_loss(jobs: JobStore) -> None:
    id = jobs.create({}).id
    for _ in range(3):
        jobs.requeue(id, jobs.start(id, "a") or 0, lost=False)

    assert (jobs.get(id).status, jobs.get(id).losses) == ("queued", 0)


def test_job_when_lost_while_it_is_cancelled_then_is_cancelled(jobs: JobStore) -> None:
    id = jobs.create({}).id
    attempt = jobs.start(id, "a") or 0
    jobs.cancel(id)

    assert jobs.requeue(id, attempt).status == "cancelled"


def test_job_when_cancelled_and_started_at_once_then_exactly_one_change_is_made(jobs: JobStore, redis_url: str) -> None:
    for _ in range(20):
        id = jobs.create({}).id
        started: list[int | None] = []
        begin = threading.Thread(target=lambda id=id, started=started: started.append(jobs.start(id, "a")))
        begin.start()
        jobs.cancel(id)
        begin.join()

        assert jobs.get(id).status == ("cancelled" if started == [None] else "cancelling")


def test_version_when_anything_changes_then_grows(jobs: JobStore) -> None:
    id = jobs.create({}).id
    attempt = jobs.start(id, "a") or 0
    jobs.progress(id, attempt, {"done": 1})

    assert jobs.get(id).version == 3


def test_record_when_ended_then_expires_after_its_result(jobs: JobStore, connection: redis.Redis) -> None:
    id = jobs.create({}).id
    jobs.finish(id, jobs.start(id, "a") or 0, "succeeded")

    for key in (keyspace.record("job", id), keyspace.events("job", id)):
        assert jobs.result_ttl < connection.ttl(key) <= jobs.result_ttl + jobs.failure_ttl


def test_job_when_its_content_is_rejected_then_fails_without_a_run(jobs: JobStore) -> None:
    id = jobs.create({}, waiting_for=["model:a"]).id
    refused = jobs.refuse("model:a", PROBLEM)

    assert [record.id for record in refused] == [id]
    assert (jobs.get(id).status, jobs.get(id).problem, jobs.get(id).attempt) == ("failed", PROBLEM, 0)


def test_events_when_the_job_runs_then_list_every_change_in_order(jobs: JobStore, connection: redis.Redis) -> None:
    id = jobs.create({}).id
    attempt = jobs.start(id, "a") or 0
    jobs.progress(id, attempt, {"done": 1})
    jobs.finish(id, attempt, "succeeded")
    events = [fields for _, fields in connection.xrange(keyspace.events("job", id))]

    assert [event[b"kind"] for event in events] == [b"status", b"status", b"progress", b"status"]
    assert [json.loads(event[b"data"]).get("status") for event in events] == ["queued", "running", None, "succeeded"]


def test_jobs_when_the_memory_is_full_then_still_begin_end_and_are_cancelled(jobs: JobStore, connection: redis.Redis) -> None:
    runs, waits, begins = (jobs.create({}).id for _ in range(3))
    attempt = jobs.start(runs, "a") or 0
    with memory_limit(connection, "100kb"):
        ended, cancelled = jobs.finish(runs, attempt, "succeeded"), jobs.cancel(waits)
        begun = jobs.begin(begins, "a", 1)

    assert (ended, jobs.get(runs).status, cancelled.status) == (True, "succeeded", "cancelled")
    assert begun is not None
    assert begun.status == "running"
