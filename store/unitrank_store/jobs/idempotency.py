"""Earlier jobs that answer a request: the job that came under the same key, or a job that equals the one in the request.

Each is found by one Redis key, which the step that makes a job, or takes an earlier one, writes as well:

    idempotency(key)         JSON: the digest of the body, and the id of the job that it made
    equal_job(fingerprint)   the id of the last job with that fingerprint

A lookup reads the key once and remembers its value. The claim that follows fails with Taken where another request has
changed the key since: the caller then looks again.
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
    """A client's key and the body that came with it, both as digests."""

    key: str
    body: str

    @classmethod
    def of(cls, key: str, *, caller: str, body: str) -> "IdempotencyKey":
        """`caller`: the id of the API key that the request came with; two callers may choose the same `key`."""
        return cls(_digest(f"{caller}\n{key}"), _digest(body))


@dataclass(frozen=True)
class JobLookup:
    """The earlier job that a Redis key names; `record` is None where a new job must be made."""

    record: JobRecord | None
    redis_key: str
    value: bytes | str | None
    value_for: Callable[[str], str]
    seconds: int

    def claim(self, id: str) -> Claim:
        """Let the Redis key name the job `id`, provided that the key is unchanged since the lookup."""
        return Claim(self.redis_key, self.value, self.value_for(id), self.seconds)


class EarlierJobs:
    """The earlier jobs of one tenant: those that `jobs` can read."""

    def __init__(self, connection: redis.Redis, jobs: JobStore) -> None:
        self._redis = connection
        self._jobs = jobs
        # A record is kept no longer than this after its job has ended.
        self._seconds = jobs.result_ttl + jobs.failure_ttl

    def of_key(self, key: IdempotencyKey) -> JobLookup:
        """The job that came under the same key. Raises IdempotencyKeyReused where that job's request had another body."""
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
        """A job with the same fingerprint that has succeeded, or that runs or waits with the same timeout and priority.

        `fresh`: no earlier job is accepted.
        """
        redis_key = keyspace.equal_job(fingerprint)
        value = self._redis.get(redis_key)
        record = None if fresh or value is None else self._record(text(value))
        if record is not None and not _answers(record, timeout, priority):
            record = None
        return JobLookup(record, redis_key, value, value_for=str, seconds=self._seconds)

    def take(self, record: JobRecord, claims: Sequence[Claim], also: Callable[[Pipeline], None] | None) -> None:
        """Write the claims of a job that exists already.

        `also`: queues one command in the same step; its reply is false where the job is gone.
        Raises Taken where a claim fails or the job is gone.
        """

        def write(pipeline: Pipeline) -> None:
            take(claims, pipeline)
            if also is not None:
                also(pipeline)

        # Any: redis-py types no reply
        replies = cast(list[Any], self._redis.transaction(write, *(claim.key for claim in claims)))
        if also is not None and not replies[-1]:
            raise Taken(f"the job {record.id} was deleted meanwhile")

    def forget(self, record: JobRecord) -> None:
        """Equal requests do not find this job any more."""
        redis_key = keyspace.equal_job(record.resolved["fingerprint"])
        if self._redis.get(redis_key) == record.id.encode():
            self._redis.delete(redis_key)

    def _record(self, id: str | None) -> JobRecord | None:
        try:
            return self._jobs.get(id) if id else None
        except RecordNotFound:
            return None


def _answers(record: JobRecord, timeout: float, priority: str) -> bool:
    """Whether the job ends as a new one would."""
    if record.status == "succeeded":
        return (record.expires_at or 0) > time.time()
    same_end = (record.request["timeout"], record.request["priority"]) == (timeout, priority)
    return record.status in ("queued", "running") and not record.cancel_requested and same_end


def _digest(content: str) -> str:
    return hashlib.sha256(content.encode()).hexdigest()
