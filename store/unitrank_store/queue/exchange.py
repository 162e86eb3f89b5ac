"""Exchanges the job that a worker has taken for a later job of its line, whose model is warm.

An exchange changes only the order of one owner's jobs of one priority: owners keep their turns. A
job is overtaken by at most `most_overtaking` later jobs. These take the owner's turns for about the
time of one job.
"""

import json
from collections.abc import Sequence
from typing import NamedTuple

import redis

from unitrank_store.queue.rq_queue import record_id
from unitrank_store.redis import keyspace
from unitrank_store.redis.decoding import text, texts
from unitrank_store.redis.scripts import LuaScript

LOOKED_AT = 16
"""Number of jobs behind the taken one that may take its place."""
_EXCHANGE = LuaScript("unitrank_store.queue", "exchange.lua")


class JobModel(NamedTuple):
    """The model of a job, by the digest of its upload, and the tenant that runs the job."""

    tenant: str
    digest: str


class Turn(NamedTuple):
    """The turn of a job that a worker has taken.

    `model`: None if the job's record is missing or malformed.
    `line`: key of the job's line; None if the job did not come from a line.
    """

    model: JobModel | None
    line: str | None


def turn_of(connection: redis.Redis, queue: str, id: str) -> Turn:
    """Return the turn of an id that was just taken, before `feed`."""
    with connection.pipeline(transaction=False) as pipeline:
        pipeline.hmget(keyspace.last_turn(queue), "id", "line")
        _read_model(pipeline, id)
        last, stored = pipeline.execute()
    last_id, line = (text(value) if value is not None else None for value in last)
    return Turn(_model(stored), line if last_id == id else None)


def next_in_line(connection: redis.Redis, line: str) -> list[tuple[str, JobModel]]:
    """Return the first ids of a line with their models, in their order."""
    ids = texts(connection.lrange(line, 0, LOOKED_AT - 1))
    return [(id, model) for id, model in zip(ids, models_of(connection, ids), strict=True) if model is not None]


def models_of(connection: redis.Redis, ids: Sequence[str]) -> list[JobModel | None]:
    """Return the models of the ids' records; None for a record that is missing or malformed."""
    with connection.pipeline(transaction=False) as pipeline:
        for id in ids:
            _read_model(pipeline, id)
        return [_model(stored) for stored in pipeline.execute()]


def most_overtaking(connection: redis.Redis, queue: str, workers: int) -> int:
    """Return how many later jobs may overtake a job: those that `workers` run in one job's time.

    The owners that wait share the workers. The number is at least 1.
    """
    return max(1, workers // max(1, int(connection.zcard(keyspace.owners_in_line(queue)))))


def exchange(connection: redis.Redis, queue: str, *, taken: str, line: str, id: str, other: str, most: int) -> bool:
    """Take `other` in place of `id`. Return False if nothing was changed.

    Nothing is changed if `other` no longer waits, or if `most` later ids have overtaken `id` or an
    id before `other`. `taken`: key of the list of ids that workers have taken.
    """
    return bool(_EXCHANGE(connection, [taken, line, keyspace.overtaken(queue)], id=id, other=other, most=most))


def _read_model(pipeline: redis.client.Pipeline, id: str) -> None:
    pipeline.hmget(keyspace.record("job", record_id(id)), "tenant", "resolved")


def _model(stored: Sequence[bytes | None]) -> JobModel | None:
    """Return the model of stored fields; None if they are missing or malformed."""
    tenant, resolved = stored
    try:
        return JobModel(text(tenant or b""), str(json.loads(resolved or b"null")["model"]["digest"]))
    except (ValueError, LookupError, TypeError, RecursionError):
        return None
