"""The limits for a new job: unfinished jobs of its key, jobs in the queue, memory of the store."""

from unitrank_service.errors import HttpProblem
from unitrank_store.access.api_keys import Key
from unitrank_store.jobs.job_store import JobStore
from unitrank_store.results.result_store import ResultStore
from unitrank_store.settings import Settings

RETRY = {"Retry-After": "30"}


def check_limits(key: Key, size: int, *, jobs: JobStore, results: ResultStore, settings: Settings) -> None:
    """Check that a new job may be queued. `size`: bytes of its request and of its result.

    Raises HttpProblem if the key or the queue has too many jobs.
    Raises Full if the store has no room for `size` bytes more.
    """
    demand = jobs.demand(key.id)
    waiting, unfinished = demand.queued, demand.unfinished
    limit = settings.key_queue_limit if key.limit is None else key.limit
    if unfinished >= limit:
        detail = f"this key has {unfinished} unfinished jobs; at most {limit} are allowed: wait for one to end, or cancel one"
        raise HttpProblem("queue_full", detail, RETRY)
    if waiting >= settings.queue_limit:
        detail = f"the queue holds {waiting} jobs; at most {settings.queue_limit} are allowed: try again later"
        raise HttpProblem("queue_full", detail, RETRY)
    # The store keeps the request as long as its job. Bytes reserved for other results are not free.
    results.require_room(size + demand.reserved)
