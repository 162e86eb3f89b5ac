"""Earlier jobs: lookups by idempotency key and by fingerprint, and claims of changed keys fail."""

import hashlib
import json
import time

import pytest
import redis

from unitrank_schemas.base import Json
from unitrank_store.errors import IdempotencyKeyReused, Taken
from unitrank_store.jobs.idempotency import EarlierJobs, IdempotencyKey
from unitrank_store.jobs.job_store import JobStore
from unitrank_store.redis import keyspace

REQUEST: Json = {"model": "m", "timeout": 60.0, "priority": "normal"}
KEY = IdempotencyKey.of("a key", caller="", body="{}")
END: Json = {"timeout": 60.0, "priority": "normal"}


@pytest.fixture
def jobs(connection: redis.Redis) -> JobStore:
    return JobStore(connection)


@pytest.fixture
def earlier(connection: redis.Redis, jobs: JobStore) -> EarlierJobs:
    return EarlierJobs(connection, jobs)


def test_entries_when_written_by_an_older_version_then_are_read(
    connection: redis.Redis, jobs: JobStore, earlier: EarlierJobs
) -> None:
    id = jobs.create(REQUEST).id
    key, body = (hashlib.sha256(content).hexdigest() for content in (b"owner\na key", b"{}"))
    connection.set(f"unitrank:idempotency:{key}", json.dumps({"body": body, "job": id}))
    connection.set("unitrank:equal:sha256:00", id)

    same_key = earlier.of_key(IdempotencyKey.of("a key", caller="owner", body="{}")).record
    equal = earlier.equal("sha256:00", **END).record

    assert same_key is not None
    assert equal is not None
    assert same_key.id == equal.id == id


def test_key_when_it_came_with_another_body_then_the_error_names_the_job(jobs: JobStore, earlier: EarlierJobs) -> None:
    id = jobs.create(REQUEST, id="0" * 26, claims=[earlier.of_key(KEY).claim("0" * 26)]).id

    with pytest.raises(IdempotencyKeyReused) as caught:
        earlier.of_key(IdempotencyKey.of("a key", caller="", body="[]"))

    assert caught.value.job == id


def test_claim_when_another_job_took_the_key_after_the_lookup_then_nothing_is_made(jobs: JobStore, earlier: EarlierJobs) -> None:
    first, second = earlier.equal("f", **END), earlier.equal("f", **END)
    jobs.create(REQUEST, id="0" * 26, claims=[first.claim("0" * 26)])

    with pytest.raises(Taken):
        jobs.create(REQUEST, id="1" * 26, claims=[second.claim("1" * 26)])

    assert [record.id for record in jobs.list()[0]] == ["0" * 26]


def test_take_when_the_job_is_gone_then_raises_taken(jobs: JobStore, earlier: EarlierJobs) -> None:
    record = jobs.create(REQUEST)

    with pytest.raises(Taken, match=record.id):
        earlier.take(record, [], lambda pipeline: pipeline.exists(keyspace.record("job", "gone")))


def test_equal_when_the_job_would_end_in_another_way_then_is_not_accepted(jobs: JobStore, earlier: EarlierJobs) -> None:
    id = jobs.create(REQUEST, id="0" * 26, claims=[earlier.equal("f", **END).claim("0" * 26)]).id

    assert earlier.equal("f", timeout=5.0, priority="normal").record is None
    assert earlier.equal("f", **END, fresh=True).record is None
    attempt = jobs.start(id, "w")
    jobs.finish(id, attempt or 0, "succeeded", result={})
    record = earlier.equal("f", timeout=5.0, priority="high").record
    assert record is not None
    assert (record.expires_at or 0) > time.time()


def test_forget_when_a_later_job_took_the_place_then_that_job_stays(
    connection: redis.Redis, jobs: JobStore, earlier: EarlierJobs
) -> None:
    first = jobs.create(REQUEST, {"fingerprint": "f"}, id="0" * 26, claims=[earlier.equal("f", **END).claim("0" * 26)])
    second = jobs.create(REQUEST, {"fingerprint": "f"}, id="1" * 26, claims=[earlier.equal("f", **END).claim("1" * 26)])

    earlier.forget(first)
    assert connection.get(keyspace.equal_job("f")) == second.id.encode()
    earlier.forget(second)
    assert connection.get(keyspace.equal_job("f")) is None
