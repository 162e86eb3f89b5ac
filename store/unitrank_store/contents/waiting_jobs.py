"""Jobs that wait for a model or a dataset.

The jobs are queued when the model or dataset is ready, and fail when it is rejected.

A *content key* names the model or dataset that a job waits for: its kind, and its digest. A content
that is not imported yet has a key in place of the digest (see `importing`). At the end of an import
the waiting jobs are *repointed*: they use the digest from then on.
"""

from collections.abc import Sequence
from functools import partial

import redis
import structlog

from unitrank_schemas.base import Json
from unitrank_store.contents.datasets import DatasetStore
from unitrank_store.contents.models import ModelStore
from unitrank_store.errors import RecordNotFound
from unitrank_store.jobs.job_store import JobStore
from unitrank_store.queue.rq_queue import push

log = structlog.get_logger()


def model_key(digest: str) -> str:
    """Return the content key of a model, for `JobStore.create(waiting_for=...)`."""
    return f"model:{digest}"


def dataset_key(key: str) -> str:
    """Return the content key of a dataset, for `JobStore.create(waiting_for=...)`."""
    return f"dataset:{key}"


def model_ready(connection: redis.Redis, jobs: JobStore, digest: str) -> None:
    """A model is ready: queue the jobs that waited for it and do not wait for a dataset."""
    _release(connection, jobs, model_key(digest))


def repoint_to_dataset(jobs: JobStore, key: str, digest: str) -> None:
    """Let the jobs that wait for an imported dataset use its digest.

    `key`: the dataset's key before the import. The caller holds the lock of `DatasetStore`.
    """
    for id in jobs.waiting(dataset_key(key)):
        jobs.repoint(id, "dataset", key=key, digest=digest)


def repoint_to_model(jobs: JobStore, key: str, digest: str) -> None:
    """Let the jobs that wait for an imported model use its digest, and wait for its inspection.

    `key`: the model's key before the import. The caller holds the lock of `ModelStore`.
    """
    for id in jobs.waiting(model_key(key)):
        jobs.repoint(id, "model", key=key, digest=digest, wait_for=model_key(digest))


def dataset_arrived(connection: redis.Redis, jobs: JobStore, key: str) -> None:
    """A dataset is imported: queue the jobs that waited for it and do not wait for a model."""
    _release(connection, jobs, dataset_key(key))


def dataset_rejected(jobs: JobStore, key: str, problem: Json) -> None:
    """Fail the jobs that waited for a dataset; `problem` is the reason of its rejection."""
    jobs.refuse(dataset_key(key), problem)


def model_arrived(connection: redis.Redis, jobs: JobStore, models: ModelStore, key: str, digest: str) -> None:
    """Release the jobs that waited for a model's import: they wait only for its inspection now.

    If the inspection has ended already, they are queued, or fail.
    """
    _release(connection, jobs, model_key(key))
    _check_model(connection, jobs, models, digest)


def recheck(
    connection: redis.Redis, jobs: JobStore, models: ModelStore, datasets: DatasetStore, waiting_for: Sequence[str]
) -> None:
    """Queue the jobs whose contents are already ready; fail those whose content is already lost.

    A lost content was rejected or deleted. Call this function after a waiting job was created: a
    content that became ready between the request's check and the job's creation did not release
    the job.
    `waiting_for`: content keys.
    """
    for content_key in waiting_for:
        kind, _, key = content_key.partition(":")
        check = (
            partial(_check_model, connection, jobs, models, key)
            if kind == "model"
            else partial(_check_dataset, connection, jobs, datasets, key)
        )
        try:
            try:
                check()
            except RecordNotFound:
                # The import may have ended between the two reads of the check: check once more.
                check()
        except RecordNotFound:
            jobs.refuse(content_key, _deleted(kind))


def _check_model(connection: redis.Redis, jobs: JobStore, models: ModelStore, key: str) -> None:
    """Release or fail the jobs that wait for a model if its import or its inspection has ended.

    Raises RecordNotFound if the model was deleted.
    """
    digest = models.imported_digest(key)
    if digest is not None:
        with models.changing():
            repoint_to_model(jobs, key, digest)
        model_arrived(connection, jobs, models, key, digest)
        return
    model = models.content(key)
    if model.status == "ready":
        model_ready(connection, jobs, key)
    elif model.status == "rejected" and model.problem is not None:
        model_rejected(jobs, key, model.problem)


def _check_dataset(connection: redis.Redis, jobs: JobStore, datasets: DatasetStore, key: str) -> None:
    """Release or fail the jobs that wait for a dataset if its import has ended.

    Raises RecordNotFound if the dataset was deleted.
    """
    digest = datasets.imported_digest(key)
    if digest is not None:
        with datasets.changing():
            repoint_to_dataset(jobs, key, digest)
        dataset_arrived(connection, jobs, key)
        return
    dataset = datasets.content(key)
    if dataset.status == "rejected" and dataset.problem is not None:
        dataset_rejected(jobs, key, dataset.problem)


def model_rejected(jobs: JobStore, digest: str, problem: Json) -> None:
    """Fail the jobs that waited for a model; `problem` is the reason of its rejection."""
    jobs.refuse(model_key(digest), problem)


def reject_model(jobs: JobStore, models: ModelStore, digest: str, problem: Json) -> None:
    """Reject a model, unless it was deleted, and fail the jobs that waited for it."""
    try:
        models.reject(digest, problem)
    except RecordNotFound:
        log.info("rejected model was deleted", digest=digest)
    model_rejected(jobs, digest, problem)


def _release(connection: redis.Redis, jobs: JobStore, content_key: str) -> None:
    for record in jobs.release(content_key):
        push(connection, jobs, record)


def _deleted(kind: str) -> Json:
    detail = f"the {kind} was deleted while the job was created; upload it again"
    return {"code": f"{kind}_not_found", "title": f"The {kind} was deleted", "detail": detail, "status": 422, "retryable": False}
