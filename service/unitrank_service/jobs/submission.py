"""Submits a job: an earlier job that answers the request is reused, otherwise a new job is made."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import redis
from redis.client import Pipeline

from unitrank_schemas.base import Json
from unitrank_schemas.jobs import JobRequest
from unitrank_schemas.problems import Invalid
from unitrank_service.errors import HttpProblem, InvalidBody
from unitrank_service.jobs.drafts import Draft, DraftStores, draft
from unitrank_service.jobs.execution import check_execution
from unitrank_service.jobs.limits import check_limits
from unitrank_service.observability.metrics import Metrics, ReuseReason
from unitrank_service.version import VERSION
from unitrank_service.webhooks.dispatcher import Dispatcher
from unitrank_store.access.api_keys import ANYONE, Key
from unitrank_store.contents.waiting_jobs import dataset_key, model_key, recheck
from unitrank_store.errors import IdempotencyKeyReused, Taken
from unitrank_store.jobs.idempotency import EarlierJobs, IdempotencyKey, JobLookup
from unitrank_store.jobs.ids import new_id
from unitrank_store.jobs.job_store import JobStore
from unitrank_store.jobs.record import JobRecord
from unitrank_store.observability import tracing
from unitrank_store.queue.rq_queue import queue_commands
from unitrank_store.redis.claims import Claim
from unitrank_store.results.result_store import ResultStore
from unitrank_store.settings import Settings
from unitrank_store.webhooks.deliveries import DeliveryRecord, DeliveryStore
from unitrank_store.worker_registry import WorkerRegistry

MOST_DELIVERIES = 200
"""Limit of webhooks of one job. Each equal request may add one webhook."""

_NOT_IN_FINGERPRINT = {"model", "dataset", "timeout", "priority", "execution", "webhook", "metadata"}
"""Fields that do not change the result. The digests take the place of `model` and `dataset`."""


@dataclass(frozen=True)
class SubmissionStores:
    """The stores that a submission reads and writes."""

    connection: redis.Redis
    settings: Settings
    drafts: DraftStores
    jobs: JobStore
    earlier_jobs: EarlierJobs
    results: ResultStore
    deliveries: DeliveryStore
    workers: WorkerRegistry


@dataclass(frozen=True)
class SubmissionContext:
    """The parts of a request that are not in its body.

    `request_id`: id of the HTTP request, for the log.
    `key`: the API key that the request came with.
    `idempotency_key`: value of the header `Idempotency-Key`, or None.
    `fresh`: True if no earlier job with an equal request may be reused.
    `body_bytes`: size of the body in bytes.
    """

    request_id: str
    key: Key = ANYONE
    idempotency_key: str | None = None
    fresh: bool = False
    body_bytes: int = 0


@dataclass(frozen=True)
class Submission:
    """The job that answers a request. `reused`: reason to reuse an earlier job; None if new."""

    record: JobRecord
    reused: ReuseReason | None


def submit(
    request: JobRequest, context: SubmissionContext, stores: SubmissionStores, *, metrics: Metrics, dispatcher: Dispatcher
) -> Submission:
    """Return an earlier job that has the same idempotency key or an equal request, or a new job.

    A new job is in the queue, or waits until its model and its dataset are ready.
    The request's webhook is added to the job, unless the job came with the same idempotency key.

    Raises:
        RequestRejected: the request has flaws.
        HttpProblem: the queue is full, or the idempotency key came with another body before.
        Full: the store is full.
    """
    submission = _submit(request, context, stores)
    if submission.reused is not None:
        metrics.reused(submission.reused)
    if submission.reused == "equal" and request.webhook is not None:
        # The job may have ended already; its webhook is then due now.
        dispatcher.wake()
    return submission


def _submit(request: JobRequest, context: SubmissionContext, stores: SubmissionStores) -> Submission:
    drafted = None
    while True:
        same_key = _lookup(request, context, stores.earlier_jobs)
        if same_key is not None and same_key.record is not None:
            return Submission(same_key.record, "idempotency_key")
        drafted = drafted or draft(request, context.body_bytes, stores.drafts)
        try:
            return _reuse_or_create(drafted, same_key, context, stores)
        except Taken:
            # After the lookup another request took the key or made an equal job: look again.
            continue


def _lookup(request: JobRequest, context: SubmissionContext, earlier_jobs: EarlierJobs) -> JobLookup | None:
    if context.idempotency_key is None:
        return None
    body = request.model_dump_json(exclude_unset=True)
    try:
        return earlier_jobs.of_key(IdempotencyKey.of(context.idempotency_key, caller=context.key.id, body=body))
    except IdempotencyKeyReused as error:
        detail = f"this Idempotency-Key was used for job {error.job} with another body; use a new key for this request"
        invalid = Invalid(pointer="/header/idempotency-key", detail=detail, code="idempotency_key_reused")
        raise InvalidBody([invalid]) from error


def _reuse_or_create(
    drafted: Draft, same_key: JobLookup | None, context: SubmissionContext, stores: SubmissionStores
) -> Submission:
    request, fingerprint = drafted.request, _fingerprint(drafted, context.key.tenant)
    equal = stores.earlier_jobs.equal(fingerprint, timeout=request.timeout, priority=request.priority, fresh=context.fresh)
    delivery = None if request.webhook is None else DeliveryRecord.of(context.key.id, request.webhook.url)
    if equal.record is not None:
        claims = [same_key.claim(equal.record.id)] if same_key else []
        _reuse(equal.record, claims, delivery, stores.earlier_jobs, stores.deliveries)
        return Submission(equal.record, "equal")
    id = new_id()
    claims = [lookup.claim(id) for lookup in (equal, same_key) if lookup is not None]
    details = {"fingerprint": fingerprint, "request_id": context.request_id, "fresh": context.fresh, **tracing.carried()}
    return Submission(_create(drafted, id, details, claims, delivery, context.key, stores), None)


def _reuse(
    record: JobRecord,
    claims: Sequence[Claim],
    delivery: DeliveryRecord | None,
    earlier_jobs: EarlierJobs,
    deliveries: DeliveryStore,
) -> None:
    """Write the claims and add the delivery to the job.

    Raises HttpProblem if the job has too many deliveries, and Taken if a claim fails.
    """
    if delivery is None:
        earlier_jobs.take(record, claims, None)
        return
    if deliveries.count(record.id) >= MOST_DELIVERIES:
        detail = (
            f"the equal job {record.id} has {MOST_DELIVERIES} webhooks, which is the limit; "
            "send the request with `webhook: null` and poll the job"
        )
        raise HttpProblem("webhook_limit", detail, {"Retry-After": "60"})
    earlier_jobs.take(record, claims, partial(deliveries.add, record.id, delivery))


def _create(
    drafted: Draft,
    id: str,
    details: Json,
    claims: Sequence[Claim],
    delivery: DeliveryRecord | None,
    key: Key,
    stores: SubmissionStores,
) -> JobRecord:
    """Make a new job.

    Raises Taken if a claim fails, HttpProblem or Full if a limit is reached, and RequestRejected if
    no worker can run the job.
    """
    check_execution(drafted.request, stores.workers)
    reserves = drafted.summary_bytes + stores.results.bytes_in_redis(drafted.estimate.result_bytes)
    check_limits(
        key,
        len(drafted.request.model_dump_json()) + reserves,
        jobs=stores.jobs,
        results=stores.results,
        settings=stores.settings,
    )
    datasets = stores.drafts.datasets
    if drafted.inline is not None:
        datasets.inline(drafted.inline, holder=id)

    def also(pipeline: Pipeline, record: JobRecord) -> None:
        if delivery is not None:
            stores.deliveries.add(id, delivery, pipeline)
        if not record.waiting_for:
            queue_commands(pipeline, stores.connection, "job", record)

    try:
        record = stores.jobs.create(
            drafted.request.model_dump(mode="json"),
            _resolved(drafted) | details,
            id=id,
            needs=list(dict.fromkeys([drafted.model.digest, drafted.dataset_digest, *_digests_of_further(drafted).values()])),
            waiting_for=_waiting_for(drafted),
            claims=claims,
            owner=key.id,
            reserves=reserves,
            submitted_by=key.name if key.id else "",
            also=also,
        )
    except Taken:
        if drafted.inline is not None:
            datasets.release(drafted.dataset_digest, id)
        raise
    if not record.waiting_for:
        return record
    # The job enters the queue here only if its contents became ready meanwhile.
    recheck(stores.connection, stores.jobs, stores.drafts.models, stores.drafts.datasets, record.waiting_for)
    return stores.jobs.get(record.id)


def _waiting_for(drafted: Draft) -> list[str]:
    """The contents that must become ready before the job can run, as `model:…` and `dataset:…`."""
    model = drafted.model
    datasets = [*([drafted.dataset] if drafted.dataset else []), *drafted.further.values()]
    keys = [dataset_key(dataset.digest) for dataset in datasets if dataset.status == "importing"]
    return [*([model_key(model.digest)] if model.status == "inspecting" else []), *dict.fromkeys(keys)]


def _digests_of_further(drafted: Draft) -> dict[str, str]:
    """Reference → digest of the datasets that entries of `methods` read."""
    return {reference: dataset.digest for reference, dataset in drafted.further.items()}


def _resolved(drafted: Draft) -> Json:
    return {
        "model": {"name": drafted.model.name, "digest": drafted.model.digest},
        "dataset": {"name": drafted.dataset and drafted.dataset.name, "digest": drafted.dataset_digest},
        "further": {reference: {"name": dataset.name, "digest": dataset.digest} for reference, dataset in drafted.further.items()},
        "result_bytes": drafted.estimate.result_bytes,
        "flops": drafted.flops,
        "checked": drafted.checked,
        "options": list(drafted.options),
    }


def _fingerprint(drafted: Draft, tenant: str) -> str:
    """A digest of the tenant, the version, the contents and all options that decide a result.

    Two jobs with the same fingerprint have the same result.
    """
    options = drafted.request.model_dump(mode="json", exclude=_NOT_IN_FINGERPRINT)
    digests = _digests_of_further(drafted)
    for method in options["methods"]:
        # The content decides the result, not the name that the request gives it.
        method |= {"scores": digests[method["scores"]]} if method.get("scores") else {}
    content = [tenant, VERSION, drafted.model.digest, drafted.dataset_digest, options]
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"
