"""Jobs that are answered with an earlier one: sent again under the same key, or equal to one that ran or will run."""

import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

from redis.client import Pipeline

from unitrank_schemas.jobs import JobRequest
from unitrank_schemas.problems import Invalid
from unitrank_service.backend import Backend
from unitrank_service.errors import HttpProblem, InvalidBody
from unitrank_store.errors import RecordNotFound, Taken
from unitrank_store.jobs.record import JobRecord
from unitrank_store.redis import keyspace
from unitrank_store.redis.claims import Claim, take
from unitrank_store.redis.decoding import text
from unitrank_store.webhooks.deliveries import DeliveryRecord

MOST_DELIVERIES = 200


@dataclass(frozen=True)
class Once:
    """An `Idempotency-Key` of a caller, and the body that came with it."""

    key: str
    body: str

    @classmethod
    def of(cls, key: str, caller: str, request: JobRequest) -> "Once":
        """Two callers may choose the same key: `caller` is the id of the API key that they come with."""
        return cls(_digest(f"{caller}\n{key}"), _digest(request.model_dump_json(exclude_unset=True)))


@dataclass(frozen=True)
class Found:
    """An earlier job, None where a new one is to be made; `claim` then notes it for the next request."""

    record: JobRecord | None
    claim: Claim


def sent_before(backend: Backend, once: Once, id: str) -> Found:
    """The job of the same key. Raises InvalidBody where it came with another one."""
    key = keyspace.idempotency(once.key)
    seen = backend.connection.get(key)
    known = json.loads(seen) if seen is not None else {}
    if known and known["body"] != once.body:
        detail = f"this Idempotency-Key came with another body, for the job {known['job']}; use a new key for a new request"
        raise InvalidBody([Invalid(pointer="/header/idempotency-key", detail=detail, code="idempotency_key_reused")])
    says = json.dumps({"body": once.body, "job": id})
    return Found(_record(backend, known.get("job")), Claim(key, seen, says, _seconds(backend)))


def equal_before(backend: Backend, fingerprint: str, request: JobRequest, id: str, fresh: bool) -> Found:
    """A job with the same contents, options and seed that has succeeded or is under way; none where a `fresh` one is wanted."""
    key = keyspace.equal_job(fingerprint)
    seen = backend.connection.get(key)
    record = None if fresh or seen is None else _record(backend, text(seen))
    usable = record if record is not None and _serves(record, request) else None
    return Found(usable, Claim(key, seen, id, _seconds(backend)))


def note(backend: Backend, claims: Sequence[Claim], record: JobRecord, delivery: DeliveryRecord | None) -> None:
    """Keep claims of a job that is there already, and announce its end once more.

    Raises Taken, also where the job is gone by now, and HttpProblem where it has too many to announce it to.
    """
    if delivery is not None and backend.deliveries.count(record.id) >= MOST_DELIVERIES:
        detail = f"the job {record.id}, which equals this one, has {MOST_DELIVERIES} webhooks already; use null, and poll or wait"
        raise HttpProblem("webhook_limit", detail, {"Retry-After": "60"})

    def keep(pipeline: Pipeline) -> None:
        take(claims, pipeline)
        if delivery is not None:
            backend.deliveries.add(record.id, delivery, pipeline)

    # Any: redis-py types no reply
    replies = cast(list[Any], backend.connection.transaction(keep, *(claim.key for claim in claims)))
    if delivery is not None:
        if not replies[-1]:
            raise Taken(f"the job {record.id} went meanwhile")
        backend.dispatcher.wake()


def forget(backend: Backend, record: JobRecord) -> None:
    """Equal requests do not look for it any more."""
    key = keyspace.equal_job(record.resolved["fingerprint"])
    if backend.connection.get(key) == record.id.encode():
        backend.connection.delete(key)


def _serves(record: JobRecord, request: JobRequest) -> bool:
    """Whether the job's end is the one that the request would have."""
    if record.status == "succeeded":
        return (record.expires_at or 0) > time.time()
    same_end = (record.request["timeout"], record.request["priority"]) == (request.timeout, request.priority)
    return record.status in ("queued", "running") and not record.cancel_requested and same_end


def _record(backend: Backend, id: str | None) -> JobRecord | None:
    try:
        return backend.jobs.get(id) if id else None
    except RecordNotFound:
        return None


def _seconds(backend: Backend) -> int:
    """As long as a record may be kept after its end."""
    return backend.settings.result_ttl + backend.settings.failure_ttl


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
