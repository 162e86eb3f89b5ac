"""The record: one truth, and whoever comes late is refused."""

import json
import threading

import pytest
import redis

from unitrank_store.errors import RecordNotFound, StateConflict, Taken
from unitrank_store.jobs.job_store import JobStore
from unitrank_store.jobs.record import ENDED, Status
from unitrank_store.jobs.reservations import reserved
from unitrank_store.redis import keyspace
from unitrank_store.redis.claims import Claim

PROBLEM = {"code": "non_finite", "title": "t", "detail": "d", "status": 422, "retryable": False}


@pytest.fixture
def jobs(connection: redis.Redis) -> JobStore:
    return JobStore(connection)


def test_record_when_created_then_read_back_as_it_was(jobs: JobStore) -> None:
    made = jobs.create({"model": "mnist", "timeout": 7}, {"model": "sha256:ab"}, needs=["sha256:ab"])

    assert jobs.get(made.id) == made
    assert (made.status, made.attempt, made.version, made.timeout) == ("queued", 0, 1, 7.0)


def test_record_when_a_claim_says_something_else_by_now_then_not_made(jobs: JobStore, connection: redis.Redis) -> None:
    connection.set("first", "job-1")
    free, taken = Claim("second", None, "job-2", 60), Claim("first", b"job-0", "job-2", 60)

    with pytest.raises(Taken, match="first"):
        jobs.create({}, claims=[free, taken])

    assert (connection.get("first"), connection.get("second"), jobs.list()[0]) == (b"job-1", None, [])


def test_record_when_made_then_its_claims_say_so_for_a_time(jobs: JobStore, connection: redis.Redis) -> None:
    connection.set("first", "job-0")

    jobs.create({}, claims=[Claim("first", b"job-0", "job-1", 60), Claim("second", None, "job-1", 60)])

    assert connection.mget("first", "second") == [b"job-1", b"job-1"]
    assert 0 < connection.ttl("first") <= 60


def test_record_when_unknown_then_not_found(jobs: JobStore) -> None:
    with pytest.raises(RecordNotFound, match="nothing"):
        jobs.get("nothing")


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


def test_job_when_cancelled_before_its_start_then_never_runs(jobs: JobStore) -> None:
    id = jobs.create({}).id

    assert jobs.cancel(id).status == "cancelled"
    assert jobs.start(id, "a") is None


def test_job_when_cancelled_while_it_runs_then_is_told_so_and_ends_cancelled(jobs: JobStore) -> None:
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

    others: set[Status] = set(ENDED) - {status}
    assert not any(jobs.finish(id, attempt, other) for other in others)
    assert jobs.progress(id, attempt, {}) == "fenced"
    assert jobs.start(id, "b") is None
    assert jobs.requeue(id, attempt) == ended
    assert jobs.cancel(id) == ended


def test_end_when_said_again_because_its_reply_was_lost_then_holds(jobs: JobStore) -> None:
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


def test_job_when_its_process_is_stopped_on_purpose_then_that_counts_for_nothing(jobs: JobStore) -> None:
    id = jobs.create({}).id
    for _ in range(3):
        jobs.requeue(id, jobs.start(id, "a") or 0, lost=False)

    assert (jobs.get(id).status, jobs.get(id).losses) == ("queued", 0)


def test_job_when_lost_while_it_is_cancelled_then_is_cancelled(jobs: JobStore) -> None:
    id = jobs.create({}).id
    attempt = jobs.start(id, "a") or 0
    jobs.cancel(id)

    assert jobs.requeue(id, attempt).status == "cancelled"


def test_job_when_cancelled_and_started_at_once_then_ends_in_one_truth(jobs: JobStore, redis_url: str) -> None:
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


def test_record_when_it_lives_then_is_not_deleted(jobs: JobStore) -> None:
    id = jobs.create({}).id

    with pytest.raises(StateConflict, match="queued"):
        jobs.delete(id)


def test_record_when_deleted_then_nothing_of_it_is_left(jobs: JobStore, connection: redis.Redis) -> None:
    id = jobs.create({"model": "m"}, needs=["sha256:ab"]).id
    jobs.cancel(id)
    jobs.delete(id)

    left = {keyspace.models_of_records("job", "default"), keyspace.tenants("job"), keyspace.entered("job")}
    assert {key.decode() for key in connection.keys("*")} == left


def test_list_when_asked_in_pages_then_gives_all_newest_first(jobs: JobStore) -> None:
    ids = [jobs.create({}, id=f"{number:03}").id for number in range(7)]
    first, after = jobs.list(3)
    second, after_second = jobs.list(3, after)
    third, end = jobs.list(3, after_second)

    assert [record.id for record in (*first, *second, *third)] == ids[::-1]
    assert end is None


def test_list_when_requests_are_large_then_a_page_has_fewer(jobs: JobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("unitrank_store.jobs.indexes.PAGE_BYTES", 1000)
    sizes = (10, 10, 600, 600, 2000, 10)
    ids = [jobs.create({"x": "y" * size}, id=f"{number:03}").id for number, size in enumerate(sizes)]
    pages: list[list[str]] = []
    after = None
    while not pages or after is not None:
        page, after = jobs.list(3, after)
        pages.append([record.id for record in page])

    assert [id for page in pages for id in page] == ids[::-1]
    assert [len(page) for page in pages] == [2, 2, 2]


def test_list_when_narrowed_then_gives_only_what_fits(jobs: JobStore) -> None:
    mnist = [jobs.create({"model": model}).id for model in ("mnist", "mnist@sha256:ab")]
    other = jobs.create({"model": "other"}).id
    jobs.cancel(mnist[0])
    jobs.cancel(other)

    assert {record.id for record in jobs.list(model="mnist")[0]} == set(mnist)
    assert {record.id for record in jobs.list(status="cancelled")[0]} == {mnist[0], other}
    assert [record.id for record in jobs.list(status="cancelled", model="mnist")[0]] == [mnist[0]]


def test_list_when_records_have_expired_then_forgets_them(jobs: JobStore, connection: redis.Redis) -> None:
    ids = [jobs.create({"model": "m"}).id for _ in range(3)]
    for id in ids:
        jobs.cancel(id)
    connection.delete(keyspace.record("job", ids[1]))

    assert len(jobs.list(1)[0]) == 1
    assert {record.id for record in jobs.list()[0]} == {ids[0], ids[2]}
    assert jobs.forget_expired() == 1
    assert connection.zcard(keyspace.records_by_model("job", "default", "m")) == 2
    assert jobs.count("cancelled") == 2


def test_ids_when_most_have_expired_then_are_all_forgotten_in_one_go(jobs: JobStore, connection: redis.Redis) -> None:
    ids = [jobs.create({}).id for _ in range(40)]
    for id in ids:
        jobs.cancel(id)
    connection.delete(*(keyspace.record("job", id) for id in ids[:35]))

    assert jobs.forget_expired(10) == 35
    assert jobs.count("cancelled") == 5


def test_room_when_promised_then_is_given_back_once_at_the_end(jobs: JobStore, connection: redis.Redis) -> None:
    first, second, third = (jobs.create({}, reserves=100).id for _ in range(3))
    jobs.cancel(first)
    jobs.cancel(first)
    attempt = jobs.start(second, "w") or 0
    jobs.requeue(second, attempt)
    assert reserved(connection) == 200
    jobs.finish(second, jobs.start(second, "w") or 0, "failed")
    jobs.finish(third, jobs.start(third, "w") or 0, "succeeded", result={})

    assert reserved(connection) == 0


def test_record_when_ended_then_expires_after_its_result(jobs: JobStore, connection: redis.Redis) -> None:
    id = jobs.create({}).id
    jobs.finish(id, jobs.start(id, "a") or 0, "succeeded")

    for key in (keyspace.record("job", id), keyspace.events("job", id)):
        assert jobs.result_ttl < connection.ttl(key) <= jobs.result_ttl + jobs.failure_ttl


def test_content_when_two_live_jobs_need_it_then_is_pinned_until_both_have_ended(jobs: JobStore, connection: redis.Redis) -> None:
    first, second = (jobs.create({}, needs=["sha256:ab"]).id for _ in range(2))
    jobs.cancel(first)
    assert connection.smembers(keyspace.pins("sha256:ab")) == {second.encode()}
    jobs.finish(second, jobs.start(second, "a") or 0, "failed", problem=PROBLEM)

    assert not connection.exists(keyspace.pins("sha256:ab"))


def test_job_when_it_waits_for_two_things_then_is_released_with_the_last(jobs: JobStore) -> None:
    id = jobs.create({}, waiting_for=["model:a", "dataset:b"]).id

    assert jobs.release("model:a") == []
    assert [record.id for record in jobs.release("dataset:b")] == [id]
    assert jobs.release("dataset:b") == []


def test_job_when_what_it_waits_for_arrives_from_two_sides_at_once_then_is_released(jobs: JobStore) -> None:
    for _ in range(10):
        id = jobs.create({}, waiting_for=["model:a", "dataset:b"]).id
        released: list[str] = []
        sides = [
            threading.Thread(target=lambda what=what, to=released: to.extend(record.id for record in jobs.release(what)))
            for what in ("model:a", "dataset:b")
        ]
        for side in sides:
            side.start()
        for side in sides:
            side.join()

        assert id in released
        assert jobs.get(id).waiting_for == []


def test_job_when_what_it_waits_for_is_refused_then_fails_without_having_run(jobs: JobStore) -> None:
    id = jobs.create({}, waiting_for=["model:a"]).id
    refused = jobs.refuse("model:a", PROBLEM)

    assert [record.id for record in refused] == [id]
    assert (jobs.get(id).status, jobs.get(id).problem, jobs.get(id).attempt) == ("failed", PROBLEM, 0)


def test_events_when_the_job_runs_then_tell_every_change_in_order(jobs: JobStore, connection: redis.Redis) -> None:
    id = jobs.create({}).id
    attempt = jobs.start(id, "a") or 0
    jobs.progress(id, attempt, {"done": 1})
    jobs.finish(id, attempt, "succeeded")
    events = [fields for _, fields in connection.xrange(keyspace.events("job", id))]

    assert [event[b"kind"] for event in events] == [b"status", b"status", b"progress", b"status"]
    assert [json.loads(event[b"data"]).get("status") for event in events] == ["queued", "running", None, "succeeded"]


def test_inspections_when_expired_then_forgotten_wherever_their_digest_stands(connection: redis.Redis) -> None:
    inspections = JobStore(connection, kind="inspection")
    for id in ("a", "b", "c"):
        inspections.create({}, id=id)
        inspections.finish(id, inspections.start(id, "w") or 0, "succeeded")
    connection.delete(keyspace.record("inspection", "c"))
    forgotten = [inspections.forget_expired(1) for _ in range(100)]

    assert (max(forgotten), forgotten[-1], inspections.count("succeeded")) == (1, 0, 2)


def test_jobs_when_the_memory_is_full_then_still_end_and_are_cancelled(jobs: JobStore, connection: redis.Redis) -> None:
    runs, waits = jobs.create({}).id, jobs.create({}).id
    attempt = jobs.start(runs, "a") or 0
    limit = str(connection.config_get("maxmemory")["maxmemory"])
    connection.config_set("maxmemory", "100kb")
    try:
        ended, cancelled = jobs.finish(runs, attempt, "succeeded"), jobs.cancel(waits)
    finally:
        connection.config_set("maxmemory", limit)

    assert (ended, jobs.get(runs).status, cancelled.status) == (True, "succeeded", "cancelled")
