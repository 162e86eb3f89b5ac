"""The job store: records are created, read and deleted, and wait for models and datasets."""

import threading

import pytest
import redis

from unitrank_store.errors import RecordNotFound, StateConflict, Taken
from unitrank_store.jobs.job_store import JobStore
from unitrank_store.redis import keyspace
from unitrank_store.redis.claims import Claim

PROBLEM = {"code": "non_finite", "title": "t", "detail": "d", "status": 422, "retryable": False}


def test_record_when_created_then_read_back_as_it_was(jobs: JobStore) -> None:
    record = jobs.create({"model": "mnist", "timeout": 7}, {"model": "sha256:ab"}, needs=["sha256:ab"])

    assert jobs.get(record.id) == record
    assert (record.status, record.attempt, record.version, record.timeout) == ("queued", 0, 1, 7.0)


def test_record_when_a_claimed_key_has_changed_then_is_not_created(jobs: JobStore, connection: redis.Redis) -> None:
    connection.set("first", "job-1")
    unchanged, changed = Claim("second", None, "job-2", 60), Claim("first", b"job-0", "job-2", 60)

    with pytest.raises(Taken, match="first"):
        jobs.create({}, claims=[unchanged, changed])

    assert (connection.get("first"), connection.get("second"), jobs.list()[0]) == (b"job-1", None, [])


def test_record_when_created_then_its_claims_are_written_for_a_time(jobs: JobStore, connection: redis.Redis) -> None:
    connection.set("first", "job-0")

    jobs.create({}, claims=[Claim("first", b"job-0", "job-1", 60), Claim("second", None, "job-1", 60)])

    assert connection.mget("first", "second") == [b"job-1", b"job-1"]
    assert 0 < connection.ttl("first") <= 60


def test_record_when_unknown_then_not_found(jobs: JobStore) -> None:
    with pytest.raises(RecordNotFound, match="nothing"):
        jobs.get("nothing")


def test_record_when_it_lives_then_is_not_deleted(jobs: JobStore) -> None:
    id = jobs.create({}).id

    with pytest.raises(StateConflict, match="queued"):
        jobs.delete(id)


def test_record_when_deleted_then_all_its_keys_are_deleted(jobs: JobStore, connection: redis.Redis) -> None:
    id = jobs.create({"model": "m"}, needs=["sha256:ab"]).id
    jobs.cancel(id)
    jobs.delete(id)

    remaining = {keyspace.models_of_records("job", "default"), keyspace.tenants("job"), keyspace.entered("job")}
    assert {key.decode() for key in connection.keys("*")} == remaining


def test_content_when_two_live_jobs_need_it_then_is_pinned_until_both_have_ended(jobs: JobStore, connection: redis.Redis) -> None:
    first, second = (jobs.create({}, needs=["sha256:ab"]).id for _ in range(2))
    jobs.cancel(first)
    assert connection.smembers(keyspace.pins("sha256:ab")) == {second.encode()}
    jobs.finish(second, jobs.start(second, "a") or 0, "failed", problem=PROBLEM)

    assert not connection.exists(keyspace.pins("sha256:ab"))


def test_job_when_it_waits_for_two_contents_then_is_released_with_the_last(jobs: JobStore) -> None:
    id = jobs.create({}, waiting_for=["model:a", "dataset:b"]).id

    assert jobs.release("model:a") == []
    assert [record.id for record in jobs.release("dataset:b")] == [id]
    assert jobs.release("dataset:b") == []


def test_job_when_both_its_contents_become_ready_at_once_then_is_released(jobs: JobStore) -> None:
    for _ in range(10):
        id = jobs.create({}, waiting_for=["model:a", "dataset:b"]).id
        released: list[str] = []
        sides = [
            threading.Thread(target=lambda key=key, to=released: to.extend(record.id for record in jobs.release(key)))
            for key in ("model:a", "dataset:b")
        ]
        for side in sides:
            side.start()
        for side in sides:
            side.join()

        assert id in released
        assert jobs.get(id).waiting_for == []
