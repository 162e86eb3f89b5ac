"""From a draft to a job: the one that there is already, or a new one, where there is room for it."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from unitrank_schemas.datasets import InlineDataset
from unitrank_schemas.jobs import JobRequest
from unitrank_service.backend import ENGINE, Backend
from unitrank_service.errors import HttpProblem
from unitrank_service.jobs.deduplication import Once, equal_before, note, sent_before
from unitrank_service.jobs.drafts import Draft
from unitrank_store.access.api_keys import ANYONE, Key
from unitrank_store.contents.datasets import DatasetRecord
from unitrank_store.contents.waiting_jobs import dataset_key, look_again, model_key
from unitrank_store.errors import Taken
from unitrank_store.jobs.job_store import new_id
from unitrank_store.jobs.record import JobRecord
from unitrank_store.jobs.reservations import reserved
from unitrank_store.observability import tracing
from unitrank_store.queue.rq_queue import enqueue_job
from unitrank_store.redis.claims import Claim
from unitrank_store.webhooks.deliveries import DeliveryRecord

_NO_MATTER = {"model", "dataset", "timeout", "priority", "webhook", "metadata"}
"""Fields that change nothing in the result, or are replaced by digests."""


@dataclass(frozen=True)
class Asked:
    """What comes with a request beside its body. `fresh`: nothing that was computed before will do."""

    request_id: str
    key: Key = ANYONE
    once: Once | None = None
    fresh: bool = False


def sent_already(backend: Backend, once: Once) -> JobRecord | None:
    """The job that came under the key, whatever has become meanwhile of what it names. Raises HttpProblem for another body."""
    record = sent_before(backend, once, "").record
    if record is not None:
        backend.metrics.reused("idempotency_key")
    return record


def accept(backend: Backend, draft: Draft, asked: Asked) -> JobRecord:
    """The job, in the queue or waiting for its model; or the earlier one that came under the same key, or equals it.

    Its end is announced to the request's webhook in any case, but for one that came under the same key.
    Raises HttpProblem where the queue is full or a key came with another body, Full where the store is.
    """
    webhook = draft.request.webhook
    delivery = None if webhook is None else DeliveryRecord.of(asked.key.id, webhook.url)
    while True:
        try:
            return _accepted(backend, draft, asked, delivery)
        except Taken:
            # Another request under the key, or an equal one, came between the look and the claim: there is more to see.
            continue


def _accepted(backend: Backend, draft: Draft, asked: Asked, delivery: DeliveryRecord | None) -> JobRecord:
    id = new_id()
    sent = sent_before(backend, asked.once, id) if asked.once else None
    if sent is not None and sent.record is not None:
        backend.metrics.reused("idempotency_key")
        return sent.record
    fingerprint = _fingerprint(draft, asked.key.tenant)
    equal = equal_before(backend, fingerprint, draft.request, id, asked.fresh)
    if equal.record is not None:
        claims = [sent_before(backend, asked.once, equal.record.id).claim] if asked.once else []
        note(backend, claims, equal.record, delivery)
        backend.metrics.reused("equal")
        return equal.record
    claims = [equal.claim, *([sent.claim] if sent else [])]
    return _created(backend, draft, id, asked, fingerprint, claims, delivery)


def _created(
    backend: Backend,
    draft: Draft,
    id: str,
    asked: Asked,
    fingerprint: str,
    claims: Sequence[Claim],
    delivery: DeliveryRecord | None,
) -> JobRecord:
    _check_room(backend, draft, asked.key)
    dataset = draft.dataset or _stored_inline(backend, draft.request, id)
    waiting_for = _unready(draft)
    try:
        record = backend.jobs.create(
            draft.request.model_dump(mode="json"),
            _resolved(draft, dataset)
            | {"fingerprint": fingerprint, "request_id": asked.request_id, "fresh": asked.fresh}
            | tracing.carried(),
            id=id,
            needs=[draft.model.digest, dataset.digest],
            waiting_for=waiting_for,
            claims=claims,
            owner=asked.key.id,
            reserves=_result_room(backend, draft),
            also=None if delivery is None else partial(backend.deliveries.add, id, delivery),
        )
    except Taken:
        if draft.dataset is None:
            backend.datasets.release(dataset.digest, id)
        raise
    if not waiting_for:
        enqueue_job(backend.connection, record)
        return record
    look_again(backend.connection, backend.jobs, backend.models, backend.datasets, waiting_for)
    return backend.jobs.get(record.id)


def _unready(draft: Draft) -> list[str]:
    """What the job has to wait for."""
    return [
        *([model_key(draft.model.digest)] if draft.model.status == "inspecting" else []),
        *([dataset_key(draft.dataset.digest)] if draft.dataset and draft.dataset.status == "importing" else []),
    ]


def _stored_inline(backend: Backend, request: JobRequest, id: str) -> DatasetRecord:
    assert isinstance(request.dataset, InlineDataset)
    return backend.datasets.inline(request.dataset.fields, holder=id)


def _resolved(draft: Draft, dataset: DatasetRecord) -> dict[str, Any]:
    return {
        "model": {"name": draft.model.name, "digest": draft.model.digest},
        "dataset": {"name": dataset.name, "digest": dataset.digest},
        "result_bytes": draft.estimate.result_bytes,
        "flops": draft.flops,
        # with a manifest and a header at hand everything was checked here; without them the worker does it
        "checked": draft.model.manifest is not None and dataset.fields is not None,
    }


def _fingerprint(draft: Draft, tenant: str) -> str:
    """Equal for jobs of a tenant whose results are equal: the same contents, options, seed and engine."""
    options = draft.request.model_dump(mode="json", exclude=_NO_MATTER)
    text = json.dumps([tenant, ENGINE, draft.model.digest, draft.dataset_digest, options], sort_keys=True, separators=(",", ":"))
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def _check_room(backend: Backend, draft: Draft, key: Key) -> None:
    settings = backend.settings
    waiting, own = backend.jobs.count("queued"), backend.jobs.unfinished(key.id)
    most = settings.key_queue_limit if key.limit is None else key.limit
    if own >= most:
        raise HttpProblem("queue_full", f"{own} jobs of this key have not ended; at most {most} may", {"Retry-After": "30"})
    if waiting >= settings.queue_limit:
        raise HttpProblem("queue_full", f"{waiting} jobs wait already; at most {settings.queue_limit} may", {"Retry-After": "30"})
    # The request is kept as long as its job; and what others have been promised is not given away.
    backend.results.require_room(len(draft.request.model_dump_json()) + _result_room(backend, draft) + reserved(backend.connection))


def _result_room(backend: Backend, draft: Draft) -> int:
    """Bytes that the result will take in the store's memory."""
    return draft.summary_bytes + backend.results.here(draft.estimate.result_bytes)
