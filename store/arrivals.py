"""What waited for a model: queued when it is ready, failed when it is rejected."""

import redis

from store.jobs import Jobs
from store.queue import push
from store.record import Json


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
