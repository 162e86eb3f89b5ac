"""What waited for a model: queued when it is ready, failed when it is rejected."""

import logging

import redis

from store.errors import NotFound
from store.jobs import Jobs
from store.models import Models
from store.queue import push
from store.record import Json

log = logging.getLogger("unitrank.store")


def model_key(digest: str) -> str:
    """What `Jobs.create(waiting_for=...)` calls a model that is still being inspected."""
    return f"model:{digest}"


def model_ready(connection: redis.Redis, jobs: Jobs, digest: str) -> None:
    """Put the jobs that waited for this last of all in the queue."""
    for record in jobs.release(model_key(digest)):
        push(connection, jobs, record)


def model_rejected(jobs: Jobs, digest: str, problem: Json) -> None:
    """Fail the jobs that waited for it, for the reason that the model was rejected."""
    jobs.refuse(model_key(digest), problem)


def reject_model(jobs: Jobs, models: Models, digest: str, problem: Json) -> None:
    """Reject the model, unless it was deleted meanwhile, and fail the jobs that waited for it."""
    try:
        models.reject(digest, problem)
    except NotFound:
        log.info("event=model_gone digest=%s", digest)
    model_rejected(jobs, digest, problem)
