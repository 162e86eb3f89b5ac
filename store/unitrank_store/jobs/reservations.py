"""Reservations: bytes of the store's memory that are kept free for the results of live jobs.

A reservation begins and ends together with its job: `reserve` runs in the transaction that creates
the record, and `change_record.lua` gives the bytes back when it ends the record.
"""

from typing import Any, NamedTuple

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
    return _sum(connection.hget(keyspace.reservations(), "all"))


class Demand(NamedTuple):
    """The demand that new jobs must leave room for.

    `queued`: records that wait, of all owners. `unfinished`: records of one owner that have not
    ended. `reserved`: the sum of all reservations, in bytes.
    """

    queued: int
    unfinished: int
    reserved: int


def demand(connection: redis.Redis, kind: str, owner: str) -> Demand:
    """Return the demand of one kind of records, in one round trip. `owner`: id of an API key."""
    with connection.pipeline(transaction=False) as pipeline:
        pipeline.zcard(keyspace.records_by_status(kind, "queued"))
        pipeline.scard(keyspace.records_of_owner(kind, owner))
        pipeline.hget(keyspace.reservations(), "all")
        queued, unfinished, total = pipeline.execute()
    return Demand(queued, unfinished, _sum(total))


def recount(connection: redis.Redis) -> None:
    """Delete forged reservations and those of records that are not live; then correct the sum."""
    _RECOUNT(connection, [keyspace.reservations(), keyspace.live_records("job")])


def _sum(stored: Any) -> int:
    """Return the stored sum; 0 if it is missing or malformed. Any: redis-py types no reply."""
    total = text(stored or b"0")
    return int(total) if total.isdecimal() else 0
