"""Bytes of the store that are promised to the results of jobs which have not ended: others may not have them.

`reserve` is part of the step that makes a record; `change_record.lua` takes it back in the one that ends it.
"""

from importlib.resources import files

import redis
from redis.client import Pipeline

from unitrank_store.redis import keyspace
from unitrank_store.redis.decoding import text

_RESERVE = files("unitrank_store.jobs").joinpath("reserve.lua").read_text()
_RECOUNT = files("unitrank_store.jobs").joinpath("recount_reservations.lua").read_text()


def reserve(pipeline: Pipeline, id: str, size: int) -> None:
    """So many bytes at most; said twice, it is said once."""
    if size:
        pipeline.eval(_RESERVE, 1, keyspace.reservations(), id, str(size))


def reserved(connection: redis.Redis) -> int:
    """Bytes in all."""
    found = text(connection.hget(keyspace.reservations(), "all") or b"0")
    return int(found) if found.isdecimal() else 0


def recount(connection: redis.Redis) -> None:
    """Put that sum right: a record may have gone, or somebody else have written there."""
    connection.eval(_RECOUNT, 2, keyspace.reservations(), keyspace.live_records("job"))
