"""Keys of ours that hold what nobody of ours can have written: they go, and what belongs there is written anew.

One of a wrong type would stop every command on it, and with it the reaper, the queue or the figures, for ever.
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
    """Delete every key that a sweep needs and that is of a wrong type, or a lock that would never end."""
    _forget(connection, _types(connection))
    # These name further keys, and can be read now.
    lines: dict[str, str] = {}
    for queue in QUEUES.values():
        for owner in texts(connection.zrange(keyspace.owners_in_line(queue), 0, -1)):
            lines |= {keyspace.line(queue, owner, priority): "list" for priority in PRIORITIES}
    _forget(connection, lines)
    for queue in QUEUES.values():
        _forget_unless(connection, keyspace.turns(queue), _is_number)
        _forget_unless(connection, keyspace.arrivals(queue), _is_number)
    if connection.pttl(keyspace.reaper_lock()) == -1:
        connection.delete(keyspace.reaper_lock())


def _types(connection: redis.Redis) -> dict[str, str]:
    types = {
        keyspace.reaper_lock(): "string",
        keyspace.workers(): "set",
        keyspace.counters(): "hash",
        keyspace.unpublished(): "hash",
    }
    types |= {keyspace.reservations(): "hash", keyspace.blob_sizes(): "hash"}
    for queue in QUEUES.values():
        types |= {keyspace.rq_queue(queue): "list", keyspace.owners_in_line(queue): "zset", keyspace.last_turn(queue): "hash"}
        types |= {keyspace.turns(queue): "string", keyspace.arrivals(queue): "string"}
    for kind in KINDS:
        rq = queue_of(connection, kind)
        types |= {rq.intermediate_queue_key: "list", rq.started_job_registry.key: "zset", rq.failed_job_registry.key: "zset"}
        types |= {keyspace.live_records(kind): "set", keyspace.entered(kind): "hash"}
        types |= {keyspace.records_by_status(kind, status): "zset" for status in LIVE}
    return types


def _forget(connection: redis.Redis, types: Mapping[str, str]) -> None:
    with connection.pipeline(transaction=False) as pipeline:
        for key in types:
            pipeline.type(key)
        actual = texts(pipeline.execute())
    wrong = [key for (key, type), is_type in zip(types.items(), actual, strict=True) if is_type not in (type, "none")]
    if wrong:
        log.warning("forged", keys=[key[:200] for key in wrong])
        connection.delete(*wrong)


def _forget_unless(connection: redis.Redis, key: str, holds: Callable[[str], bool]) -> None:
    stored = connection.get(key)
    if stored is not None and not holds(text(stored)):
        log.warning("forged", keys=[key])
        connection.delete(key)


def _is_number(stored: str) -> bool:
    return re.fullmatch(r"-?[0-9]{1,15}", stored) is not None
