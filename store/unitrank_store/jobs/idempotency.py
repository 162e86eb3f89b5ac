"""Earlier jobs that answer a new request.

Two kinds of earlier jobs count. Each kind has a Redis key, whose value names the job:

    idempotency(key)         the job of the request with the same idempotency key,
                             as JSON: the digest of the body, and the job's id
    equal_job(fingerprint)   the last job with the same fingerprint, as its id

A lookup reads the Redis key and remembers its value. The transaction that creates a job, or returns
an earlier one, writes the Redis key too. The transaction fails with Taken if another request has
changed the Redis key since the lookup; the caller then repeats the lookup.
"""

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import redis
from redis.client import Pipeline

from unitrank_store.errors import IdempotencyKeyReused, RecordNotFound, Taken
from unitrank_store.jobs.job_store import JobStore
from unitrank_store.jobs.record import JobRecord
from unitrank_store.redis import keyspace
from unitrank_store.redis.claims import Claim, take
from unitrank_store.redis.decoding import text


@dataclass(frozen=True)
class IdempotencyKey:
    """An idempotency key and the body of its request, both as digests."""

    key: str
    body: str

    @classmethod
    def of(cls, key: str, *, caller: str, body: str) -> "IdempotencyKey":
        """Digest the key and the body of a request.

        `caller`: id of the API key of the request. Two callers may use the same `key`.
        """
        return cls(_digest(f"{caller}\n{key}"), _digest(body))


@dataclass(frozen=True)
class JobLookup:
    """The result of a lookup: the Redis key, its value, and the earlier job that it names.

    `record`: the earlier job; None if a new job must be created.
    `value`: the value of the Redis key at the lookup; None if the Redis key did not exist.
    `value_for`: returns the new value that names the job with a given id.
    `seconds`: lifetime of the new value.
    """

    record: JobRecord | None
    redis_key: str
    value: bytes | str | None
    value_for: Callable[[str], str]
    seconds: int

    def claim(self, id: str) -> Claim:
        """Return the claim that makes the Redis key name the job `id`.

        The claim fails if the Redis key has changed since the lookup.
        """
        return Claim(self.redis_key, self.value, self.value_for(id), self.seconds)


class EarlierJobs:
    """The earlier jobs of one tenant: those that `jobs` can read."""

    def __init__(self, connection: redis.Redis, jobs: JobStore) -> None:
        self._redis = connection
        self._jobs = jobs
        # The longest time that a record is kept after its job has ended.
        self._seconds = jobs.result_ttl + jobs.failure_ttl

    def of_key(self, key: IdempotencyKey) -> JobLookup:
        """Look up the job of the request with the same idempotency key.

        Raises IdempotencyKeyReused if that request had another body.
        """
        redis_key = keyspace.idempotency(key.key)
        value = self._redis.get(redis_key)
        entry = json.loads(value) if value is not None else {}
        if entry and entry["body"] != key.body:
            raise IdempotencyKeyReused(entry["job"])
        return JobLookup(
            record=self._record(entry.get("job")),
            redis_key=redis_key,
            value=value,
            value_for=lambda id: json.dumps({"body": key.body, "job": id}),
            seconds=self._seconds,
        )

    def equal(self, fingerprint: str, *, timeout: float, priority: str, fresh: bool = False) -> JobLookup:
        """Look up the last job with the same fingerprint.

        The job counts if it has succeeded and its result is still stored. It also counts if it is
        queued or running with the same `timeout` (seconds) and `priority`.
        `fresh`: accept no earlier job.
        """
        redis_key = keyspace.equal_job(fingerprint)
        value = self._redis.get(redis_key)
        record = None if fresh or value is None else self._record(text(value))
        if record is not None and not _answers(record, timeout, priority):
            record = None
        return JobLookup(record, redis_key, value, value_for=str, seconds=self._seconds)

    def take(self, record: JobRecord, claims: Sequence[Claim], also: Callable[[Pipeline], None] | None) -> None:
        """Write the claims that name an existing job.

        `also`: queues one command in the same transaction. Its reply is false if the job no longer
        exists.
        Raises Taken if a claim fails or the job no longer exists.
        """

        def write(pipeline: Pipeline) -> None:
            take(claims, pipeline)
            if also is not None:
                also(pipeline)

        # Any: redis-py types no reply
        replies = cast(list[Any], self._redis.transaction(write, *(claim.key for claim in claims)))
        if also is not None and not replies[-1]:
            raise Taken(f"the job {record.id} was deleted during the request; send the request again")

    def forget(self, record: JobRecord) -> None:
        """Remove the job from the lookup by fingerprint: equal requests then create a new job."""
        redis_key = keyspace.equal_job(record.resolved["fingerprint"])
        if self._redis.get(redis_key) == record.id.encode():
            self._redis.delete(redis_key)

    def _record(self, id: str | None) -> JobRecord | None:
        try:
            return self._jobs.get(id) if id else None
        except RecordNotFound:
            return None


def _answers(record: JobRecord, timeout: float, priority: str) -> bool:
    """Return whether the earlier job ends as a new job would end."""
    if record.status == "succeeded":
        return (record.expires_at or 0) > time.time()
    same_options = (record.request["timeout"], record.request["priority"]) == (timeout, priority)
    return record.status in ("queued", "running") and not record.cancel_requested and same_options


def _digest(content: str) -> str:
    return hashlib.sha256(content.encode()).hexdigest()
