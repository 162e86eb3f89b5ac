"""Bytes of the store that are reserved for the results of jobs which have not ended.

`reserve` is part of the step that creates a record; `change_record.lua` gives the bytes back in the step that ends it.
"""

import redis
from redis.client import Pipeline

from unitrank_store.redis import keyspace
from unitrank_store.redis.decoding import text
from unitrank_store.redis.scripts import LuaScript

_RESERVE = LuaScript("unitrank_store.jobs", "reserve.lua")
_RECOUNT = LuaScript("unitrank_store.jobs", "recount_reservations.lua")


def reserve(pipeline: Pipeline, id: str, size: int) -> None:
    """Reserve `size` bytes for a record; repeating the call changes nothing."""
    if size:
        _RESERVE(pipeline, [keyspace.reservations()], id=id, bytes=str(size))


def reserved(connection: redis.Redis) -> int:
    """Bytes that all jobs have reserved together."""
    total = text(connection.hget(keyspace.reservations(), "all") or b"0")
    return int(total) if total.isdecimal() else 0


def recount(connection: redis.Redis) -> None:
    """Put the sum right: a record may be gone, or a reservation forged."""
    _RECOUNT(connection, [keyspace.reservations(), keyspace.live_records("job")])
