"""The limits that a new job must keep: jobs of its key, jobs in the queue, memory of the store."""

import redis

from unitrank_service.errors import HttpProblem
from unitrank_store.access.api_keys import Key
from unitrank_store.jobs.job_store import JobStore
from unitrank_store.jobs.reservations import reserved
from unitrank_store.results.result_store import ResultStore
from unitrank_store.settings import Settings

RETRY = {"Retry-After": "30"}


def check_limits(key: Key, size: int, *, jobs: JobStore, results: ResultStore, connection: redis.Redis, settings: Settings) -> None:
    """Raises HttpProblem where the key or the queue has too many jobs, and Full where `size` bytes more do not fit."""
    waiting, unfinished = jobs.count("queued"), jobs.unfinished(key.id)
    most = settings.key_queue_limit if key.limit is None else key.limit
    if unfinished >= most:
        raise HttpProblem("queue_full", f"{unfinished} jobs of this key have not ended; at most {most} may", RETRY)
    if waiting >= settings.queue_limit:
        raise HttpProblem("queue_full", f"{waiting} jobs wait already; at most {settings.queue_limit} may", RETRY)
    # The request is kept as long as its job. Bytes that are reserved for other results are not available.
    results.require_room(size + reserved(connection))
