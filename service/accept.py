"""From a job request to a job: what it names is looked up, what can be known is checked, room is made sure of."""

import hashlib
import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from api_schemas.checks import Facts, Flaw, Rejected, checked, passes
from api_schemas.checks.facts import Value
from api_schemas.checks.size import array_bytes, summary_bytes
from api_schemas.datasets import FieldInfo, InlineDataset
from api_schemas.jobs import Estimate, JobRequest
from api_schemas.models import Manifest
from api_schemas.problems import Invalid
from service.backend import ENGINE, Backend
from service.destinations import NotAllowed
from service.errors import Refused
from service.reuse import Once, equal_before, note, sent_before
from service.values import distinct
from store import tracing
from store.arrivals import dataset_key, look_again, model_key
from store.claims import Claim
from store.datasets import DatasetRecord
from store.deliveries import Delivery
from store.digests import digest_of
from store.errors import NotFound, Taken
from store.jobs import new_id
from store.keys import ANYONE, Key
from store.models import ModelRecord
from store.queue import enqueue_job
from store.record import JobRecord
from store.tables import encode_inline, open_table

OPERATIONS_PER_SECOND = 2e10
"""What a device is taken to do before any job has measured it."""
OVERHEAD_SECONDS = 0.01
"""What a job on a warm model takes where there is nothing to compute."""

_NO_MATTER = {"model", "dataset", "timeout", "priority", "webhook", "metadata"}
"""Fields that change nothing in the result, or are replaced by digests."""


@dataclass(frozen=True)
class Draft:
    """A request that passed the checks, with its defaults filled in; `dataset` is None for one inside the request."""

    request: JobRequest
    model: ModelRecord
    dataset: DatasetRecord | None
    dataset_digest: str
    estimate: Estimate
    summary_bytes: int
    flops: float


def draft(backend: Backend, request: JobRequest, body_bytes: int) -> Draft:
    """Raises Rejected with every flaw that can be known now, and Refused for a dataset that is too large for a request."""
    if request.webhook is not None:
        _check_webhook(backend, request.webhook.url)
    model = _model(backend, request.model)
    if isinstance(request.dataset, InlineDataset):
        _check_inline_size(request.dataset, body_bytes, backend.settings.max_inline_bytes)
        with _inline_facts(request.dataset) as (digest, fields, examples, values):
            return _drafted(backend, request, model, None, digest, _facts(backend, model, fields, examples, values))
    dataset = _dataset(backend, request.dataset)
    facts = _facts(backend, model, dataset.fields, dataset.examples or 0, _values(backend, dataset))
    return _drafted(backend, request, model, dataset, dataset.digest, facts)


@dataclass(frozen=True)
class Asked:
    """What comes with a request beside its body. `fresh`: nothing that was computed before will do."""

    request_id: str
    key: Key = ANYONE
    once: Once | None = None
    fresh: bool = False


def sent_already(backend: Backend, once: Once) -> JobRecord | None:
    """The job that came under the key, whatever has become meanwhile of what it names. Raises Refused for another body."""
    record = sent_before(backend, once, "").record
    if record is not None:
        backend.measures.reused("idempotency_key")
    return record


def accept(backend: Backend, draft: Draft, asked: Asked) -> JobRecord:
    """The job, in the queue or waiting for its model; or the earlier one that came under the same key, or equals it.

    Its end is announced to the request's webhook in any case, but for one that came under the same key.
    Raises Refused where the queue is full or a key came with another body, Full where the store is.
    """
    webhook = draft.request.webhook
    delivery = None if webhook is None else Delivery.of(asked.key.id, webhook.url)
    while True:
        try:
            return _accepted(backend, draft, asked, delivery)
        except Taken:
            # Another request under the key, or an equal one, came between the look and the claim: there is more to see.
            continue


def _accepted(backend: Backend, draft: Draft, asked: Asked, delivery: Delivery | None) -> JobRecord:
    id = new_id()
    sent = sent_before(backend, asked.once, id) if asked.once else None
    if sent is not None and sent.record is not None:
        backend.measures.reused("idempotency_key")
        return sent.record
    fingerprint = _fingerprint(draft, asked.key.tenant)
    equal = equal_before(backend, fingerprint, draft.request, id, asked.fresh)
    if equal.record is not None:
        claims = [sent_before(backend, asked.once, equal.record.id).claim] if asked.once else []
        note(backend, claims, equal.record, delivery)
        backend.measures.reused("equal")
        return equal.record
    claims = [equal.claim, *([sent.claim] if sent else [])]
    return _created(backend, draft, id, asked, fingerprint, claims, delivery)


def _created(
    backend: Backend, draft: Draft, id: str, asked: Asked, fingerprint: str, claims: Sequence[Claim], delivery: Delivery | None
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


def _check_webhook(backend: Backend, url: str) -> None:
    try:
        backend.destinations.check(url)
    except NotAllowed as error:
        raise Rejected([Flaw("/webhook/url", error.code, error.detail)]) from error


def _model(backend: Backend, reference: str) -> ModelRecord:
    try:
        model = backend.models.resolve(reference)
    except NotFound as error:
        detail = f"model {reference!r} not found; PUT it at /v1/models/{{name}} first"
        raise Rejected([Flaw("/model", "model_not_found", detail)]) from error
    if model.status == "rejected":
        reason = (model.problem or {}).get("detail", "no reason is known")
        raise Rejected([Flaw("/model", "model_rejected", f"model {reference!r} was rejected: {reason}")])
    return model


def _dataset(backend: Backend, reference: str) -> DatasetRecord:
    try:
        dataset = backend.datasets.resolve(reference)
    except NotFound as error:
        detail = f'dataset {reference!r} not found; PUT it at /v1/datasets/{{name}} first, or send it as {{"fields": …}}'
        raise Rejected([Flaw("/dataset", "dataset_not_found", detail)]) from error
    if dataset.status == "rejected":
        reason = (dataset.problem or {}).get("detail", "no reason is known")
        raise Rejected([Flaw("/dataset", "dataset_rejected", f"dataset {reference!r} was rejected: {reason}")])
    return dataset


def _values(backend: Backend, dataset: DatasetRecord) -> Callable[[str], list[Value] | None]:
    """The distinct values of its fields; none are known before it is there."""
    if dataset.status != "ready" or dataset.examples is None:
        return lambda field: None
    return partial(backend.values.distinct, dataset.digest, dataset.examples)


def _facts(backend: Backend, model: ModelRecord, fields: Any, examples: int, values: Callable[[str], Any]) -> Facts:
    return Facts(
        manifest=Manifest.model_validate(model.manifest) if model.manifest is not None else None,
        fields={name: FieldInfo(**info) for name, info in fields.items()} if fields is not None else None,
        examples=examples,
        distinct=values,
        max_result_bytes=backend.settings.max_result_bytes,
    )


def _drafted(
    backend: Backend, request: JobRequest, model: ModelRecord, dataset: DatasetRecord | None, digest: str, facts: Facts
) -> Draft:
    request = checked(request, facts)
    count = passes(request, facts)
    flops = float(count) * (facts.manifest.flops if facts.manifest else 0)
    seconds = OVERHEAD_SECONDS + flops / (backend.rates.rate() or OPERATIONS_PER_SECOND)
    result_bytes = sum(array_bytes(request, facts).values())
    estimate = Estimate(passes=count, seconds=seconds, result_bytes=result_bytes)
    return Draft(request, model, dataset, digest, estimate, summary_bytes(request, facts), flops)


def _check_inline_size(dataset: InlineDataset, body_bytes: int, limit: int) -> None:
    # Written out again, and measured, only where it can be too large at all.
    if body_bytes > limit and (size := len(json.dumps(dataset.fields, separators=(",", ":")))) > limit:
        detail = f"the dataset inside the request has {size} bytes; at most {limit} are allowed: PUT it at /v1/datasets/{{name}}"
        errors = [Invalid(pointer="/dataset", detail=detail, code="dataset_too_large")]
        raise Refused("dataset_too_large", detail, errors=errors)


@contextmanager
def _inline_facts(dataset: InlineDataset) -> Iterator[tuple[str, Any, int, Callable[[str], list[Value] | None]]]:
    """Digest, fields, number of examples and values of a dataset inside a request, without keeping it."""
    with tempfile.TemporaryDirectory(prefix="unitrank-") as folder:
        path = Path(folder) / "inline.npz"
        content = encode_inline(dataset.fields)
        path.write_bytes(content)
        with open_table(path) as table:
            yield digest_of(content), table.fields, table.examples, lambda field: distinct(table, field)


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
        raise Refused("queue_full", f"{own} jobs of this key have not ended; at most {most} may", {"Retry-After": "30"})
    if waiting >= settings.queue_limit:
        raise Refused("queue_full", f"{waiting} jobs wait already; at most {settings.queue_limit} may", {"Retry-After": "30"})
    # The request itself is kept as long as its job.
    written = len(draft.request.model_dump_json()) + draft.summary_bytes
    backend.results.require_room(written, draft.estimate.result_bytes)
