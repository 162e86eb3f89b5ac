"""Reservations: bytes of the store's memory that are kept free for the results of live jobs.

A reservation begins and ends together with its job: `reserve` runs in the transaction that creates
the record, and `change_record.lua` gives the bytes back when it ends the record.
"""

import redis
from redis.client import Pipeline

from unitrank_store.redis import keyspace
from unitrank_store.redis.decoding import text
from unitrank_store.redis.scripts import LuaScript

_RESERVE = LuaScript("unitrank_store.jobs", "reserve.lua")
_RECOUNT = LuaScript("unitrank_store.jobs", "recount_reservations.lua")


def reserve(pipeline: Pipeline, id: str, size: int) -> None:
    """Reserve `size` bytes for a record's result. Repeating the call changes nothing."""
    if size:
        _RESERVE(pipeline, [keyspace.reservations()], id=id, bytes=str(size))


def reserved(connection: redis.Redis) -> int:
    """Return the sum of all reservations, in bytes."""
    total = text(connection.hget(keyspace.reservations(), "all") or b"0")
    return int(total) if total.isdecimal() else 0


def recount(connection: redis.Redis) -> None:
    """Delete forged reservations and those of records that are not live; then correct the sum."""
    _RECOUNT(connection, [keyspace.reservations(), keyspace.live_records("job")])
