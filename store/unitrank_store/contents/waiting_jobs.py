"""What waited for a model or a dataset: queued when it is ready, failed when it is rejected."""

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
    """What `JobStore.create(waiting_for=...)` calls a model that is still being inspected."""
    return f"model:{digest}"


def dataset_key(key: str) -> str:
    """What `JobStore.create(waiting_for=...)` calls a dataset that is still being read from elsewhere."""
    return f"dataset:{key}"


def model_ready(connection: redis.Redis, jobs: JobStore, digest: str) -> None:
    """Put the jobs that waited for this last of all in the queue."""
    _let_go(connection, jobs, model_key(digest))


def repoint_to_dataset(jobs: JobStore, key: str, digest: str) -> None:
    """The jobs that wait for the dataset now mean its digest; only under the lock of `DatasetStore`."""
    for id in jobs.waiting(dataset_key(key)):
        jobs.repoint(id, "dataset", key=key, digest=digest)


def repoint_to_model(jobs: JobStore, key: str, digest: str) -> None:
    """The jobs that wait for the model to be read mean its digest, and wait for its inspection; under the lock of `ModelStore`."""
    for id in jobs.waiting(model_key(key)):
        jobs.repoint(id, "model", key=key, digest=digest, wait_for=model_key(digest))


def dataset_arrived(connection: redis.Redis, jobs: JobStore, key: str) -> None:
    """Put the jobs that waited for this last of all in the queue."""
    _let_go(connection, jobs, dataset_key(key))


def dataset_rejected(jobs: JobStore, key: str, problem: Json) -> None:
    """Fail the jobs that waited for it, for the reason that the dataset was rejected."""
    jobs.refuse(dataset_key(key), problem)


def model_arrived(connection: redis.Redis, jobs: JobStore, models: ModelStore, key: str, digest: str) -> None:
    """Jobs that waited for the model to be read wait for its inspection alone; where that has ended, for nothing."""
    _let_go(connection, jobs, model_key(key))
    _look_at_model(connection, jobs, models, digest)


def look_again(
    connection: redis.Redis, jobs: JobStore, models: ModelStore, datasets: DatasetStore, waiting_for: Sequence[str]
) -> None:
    """For what has just begun to wait: what ended between the look at it and that has let go of all others before."""
    for what in waiting_for:
        kind, _, key = what.partition(":")
        look = (
            partial(_look_at_model, connection, jobs, models, key)
            if kind == "model"
            else partial(_look_at_dataset, connection, jobs, datasets, key)
        )
        try:
            try:
                look()
            except RecordNotFound:
                # It may have arrived between the two looks at it.
                look()
        except RecordNotFound:
            jobs.refuse(what, _gone(kind))


def _look_at_model(connection: redis.Redis, jobs: JobStore, models: ModelStore, key: str) -> None:
    digest = models.became(key)
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


def _look_at_dataset(connection: redis.Redis, jobs: JobStore, datasets: DatasetStore, key: str) -> None:
    digest = datasets.became(key)
    if digest is not None:
        with datasets.changing():
            repoint_to_dataset(jobs, key, digest)
        dataset_arrived(connection, jobs, key)
        return
    dataset = datasets.content(key)
    if dataset.status == "rejected" and dataset.problem is not None:
        dataset_rejected(jobs, key, dataset.problem)


def model_rejected(jobs: JobStore, digest: str, problem: Json) -> None:
    """Fail the jobs that waited for it, for the reason that the model was rejected."""
    jobs.refuse(model_key(digest), problem)


def reject_model(jobs: JobStore, models: ModelStore, digest: str, problem: Json) -> None:
    """Reject the model, unless it was deleted meanwhile, and fail the jobs that waited for it."""
    try:
        models.reject(digest, problem)
    except RecordNotFound:
        log.info("model gone", digest=digest)
    model_rejected(jobs, digest, problem)


def _let_go(connection: redis.Redis, jobs: JobStore, what: str) -> None:
    for record in jobs.release(what):
        push(connection, jobs, record)


def _gone(kind: str) -> Json:
    detail = f"the {kind} was deleted while the job was accepted; upload it again"
    return {"code": f"{kind}_not_found", "title": "Deleted meanwhile", "detail": detail, "status": 422, "retryable": False}
