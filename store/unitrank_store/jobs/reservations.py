"""Bytes of the store that are promised to the results of jobs which have not ended: others may not have them.

`promise` is part of the step that makes a record; `change_record.lua` takes it back in the one that ends it.
"""

from importlib.resources import files

import redis
from redis.client import Pipeline

from unitrank_store.redis import keyspace
from unitrank_store.redis.decoding import text

_PROMISE = files("unitrank_store.jobs").joinpath("promise.lua").read_text()
_RECKON = files("unitrank_store.jobs").joinpath("reckon.lua").read_text()


def promise(pipeline: Pipeline, id: str, size: int) -> None:
    """So many bytes at most; said twice, it is said once."""
    if size:
        pipeline.eval(_PROMISE, 1, keyspace.promised(), id, str(size))


def promised(connection: redis.Redis) -> int:
    """Bytes in all."""
    found = text(connection.hget(keyspace.promised(), "all") or b"0")
    return int(found) if found.isdecimal() else 0


def reckon(connection: redis.Redis) -> None:
    """Put that sum right: a record may have gone, or somebody else have written there."""
    connection.eval(_RECKON, 2, keyspace.promised(), keyspace.live_records("job"))
