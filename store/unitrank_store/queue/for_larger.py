"""Jobs that workers left for a worker with more memory: their models do not fit elsewhere."""

import redis

from unitrank_store.queue.exchange import JobModel, models_of
from unitrank_store.queue.fair_queue import FairQueue
from unitrank_store.redis import keyspace
from unitrank_store.redis.decoding import texts


def leave_for_larger(queue: FairQueue, id: str) -> None:
    """Leave an id that this worker has taken for a worker with more memory."""
    with queue.connection.pipeline() as pipeline:
        pipeline.lrem(queue.intermediate_queue_key, 1, id)
        pipeline.rpush(keyspace.for_larger(queue.name), id)
        pipeline.hdel(keyspace.overtaken(queue.name), id)
        pipeline.execute()


def models_for_larger(connection: redis.Redis, queue: str) -> list[tuple[str, JobModel | None]]:
    """Return the ids that were left, the oldest first, with their models."""
    ids = texts(connection.lrange(keyspace.for_larger(queue), 0, -1))
    return list(zip(ids, models_of(connection, ids), strict=True)) if ids else []


def claim(queue: FairQueue, id: str) -> bool:
    """Take an id that was left. Return False if another worker has taken it.

    If this process dies between the two commands, the reaper puts the job into its queue again.
    """
    if not queue.connection.lrem(keyspace.for_larger(queue.name), 1, id):
        return False
    queue.connection.lpush(queue.intermediate_queue_key, id)
    return True
