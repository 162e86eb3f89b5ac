"""Deletion of corrupt keys: keys with a value that no Unitrank process wrote.

Redis answers each command on a key of a wrong type with an error. These errors would stop the
reaper, the queue or the metrics for ever. After a key is deleted, Unitrank writes it again.
"""

import re
from collections.abc import Callable, Mapping

import redis
import structlog

from unitrank_store.jobs.record import LIVE
from unitrank_store.jobs.records import KINDS
from unitrank_store.queue.fair_order import PRIORITIES
from unitrank_store.queue.rq_queue import QUEUES, queue_of
from unitrank_store.redis import keyspace
from unitrank_store.redis.decoding import text, texts

log = structlog.get_logger()


def delete_corrupt_keys(connection: redis.Redis) -> None:
    """Delete each key of a wrong type that the reaper reads, and a lock without an expiry."""
    _delete_wrong_types(connection, _types(connection))
    # The keys of lines contain owners. The sorted set of owners has its right type by now.
    lines: dict[str, str] = {}
    for queue in QUEUES.values():
        for owner in texts(connection.zrange(keyspace.owners_in_line(queue), 0, -1)):
            lines |= {keyspace.line(queue, owner, priority): "list" for priority in PRIORITIES}
    _delete_wrong_types(connection, lines)
    for queue in QUEUES.values():
        _delete_unless(connection, keyspace.turns(queue), _is_number)
        _delete_unless(connection, keyspace.arrivals(queue), _is_number)
    if connection.pttl(keyspace.reaper_lock()) == -1:
        connection.delete(keyspace.reaper_lock())


def _types(connection: redis.Redis) -> dict[str, str]:
    """Return the Redis type that each key must have."""
    types = {
        keyspace.reaper_lock(): "string",
        keyspace.workers(): "set",
        keyspace.counters(): "hash",
        keyspace.unpublished(): "hash",
    }
    types |= {keyspace.reservations(): "hash", keyspace.blob_sizes(): "hash"}
    for queue in QUEUES.values():
        types |= {keyspace.rq_queue(queue): "list", keyspace.owners_in_line(queue): "zset", keyspace.last_turn(queue): "hash"}
        types |= {keyspace.turns(queue): "string", keyspace.arrivals(queue): "string", keyspace.overtaken(queue): "hash"}
        types |= {keyspace.for_larger(queue): "list"}
    for kind in KINDS:
        rq = queue_of(connection, kind)
        types |= {rq.intermediate_queue_key: "list", rq.started_job_registry.key: "zset", rq.failed_job_registry.key: "zset"}
        types |= {keyspace.live_records(kind): "set", keyspace.entered(kind): "hash"}
        types |= {keyspace.records_by_status(kind, status): "zset" for status in LIVE}
    return types


def _delete_wrong_types(connection: redis.Redis, types: Mapping[str, str]) -> None:
    with connection.pipeline(transaction=False) as pipeline:
        for key in types:
            pipeline.type(key)
        actual = texts(pipeline.execute())
    wrong = [key for (key, type), actual_type in zip(types.items(), actual, strict=True) if actual_type not in (type, "none")]
    if wrong:
        log.warning("forged", keys=[key[:200] for key in wrong])
        connection.delete(*wrong)


def _delete_unless(connection: redis.Redis, key: str, is_valid: Callable[[str], bool]) -> None:
    stored = connection.get(key)
    if stored is not None and not is_valid(text(stored)):
        log.warning("forged", keys=[key])
        connection.delete(key)


def _is_number(stored: str) -> bool:
    return re.fullmatch(r"-?[0-9]{1,15}", stored) is not None
