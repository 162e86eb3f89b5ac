"""The fair order of jobs: owners take turns, and an owner's jobs wait in a line per priority.

RQ's queue is first in, first out: 10 000 jobs of one key would run before those of all other keys.
So RQ's queue holds only one job, which the next idle worker takes. Each time a job is added or
taken, `feed` chooses the next one. A priority orders only the jobs of one owner. An owner that
marks all jobs as urgent takes no turn from another owner.

The lines hold transport ids: one id for each run of a job (see `rq_queue.transport_id`).
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import redis
from redis.client import Pipeline

from unitrank_store.redis import keyspace
from unitrank_store.redis.decoding import texts
from unitrank_store.redis.scripts import LuaScript

PRIORITIES = ("high", "normal", "low")
_FEED = LuaScript("unitrank_store.queue", "feed.lua")
_LINE_UP = LuaScript("unitrank_store.queue", "line_up.lua")


class Waiting(NamedTuple):
    """The line in which a job waits: that of its owner and its priority."""

    owner: str
    priority: str


def line_up(connection: redis.Redis | Pipeline, queue: str, waiting: Waiting, id: str) -> None:
    """Add an id to the end of its line; then fill RQ's queue."""
    keys = [*_keys(queue), keyspace.line(queue, *waiting)]
    _LINE_UP(connection, keys, owner=waiting.owner, id=id)
    feed(connection, queue)


def feed(connection: redis.Redis | Pipeline, queue: str, taken: str | None = None) -> None:
    """Move the id whose turn it is from its line into RQ's queue, if the queue is empty.

    A worker calls this after it takes an id. The reaper calls it too, for workers that died before.
    `taken`: the id that the worker has taken.
    """
    *keys, _ = _keys(queue)
    _FEED(connection, [*keys, keyspace.overtaken(queue)], lines=keyspace.lines(queue), priorities=PRIORITIES, taken=taken)


def leave(pipeline: Pipeline, queue: str, waiting: Waiting, id: str) -> None:
    """Queue the commands that remove an id from its line, if the id is there."""
    pipeline.hdel(keyspace.overtaken(queue), id)
    pipeline.lrem(keyspace.line(queue, *waiting), 0, id)


def in_line(connection: redis.Redis, queue: str) -> Sequence[str]:
    """Return all ids in the lines of a queue, in no particular order."""
    owners = texts(connection.zrange(keyspace.owners_in_line(queue), 0, -1))
    with connection.pipeline(transaction=False) as pipeline:
        for owner in owners:
            for priority in PRIORITIES:
                pipeline.lrange(keyspace.line(queue, owner, priority), 0, -1)
        return [id for line in pipeline.execute() for id in texts(line)]


def queue_places(pipeline: Pipeline, queue: str, waiting: Mapping[str, Waiting]) -> None:
    """Queue the commands whose replies `before` takes. `waiting`: the ids, each with its line."""
    pipeline.zrange(keyspace.owners_in_line(queue), 0, -1)
    for id, line in waiting.items():
        pipeline.lpos(keyspace.line(queue, *line), id)


def before(connection: redis.Redis, queue: str, waiting: Mapping[str, Waiting], replies: Sequence[Any]) -> dict[str, int]:
    """Return the number of ids that have their turn before each given id. Later ids do not count.

    `waiting`: the ids, each with its line. Ids that are in no line are left out.
    `replies`: replies to the commands of `queue_places`. Any: redis-py types no reply.
    """
    names, *positions = replies
    if all(position is None for position in positions):
        return {}
    owners = texts(names)
    lengths = _lengths(connection, queue, {*owners, *(line.owner for line in waiting.values())})
    ahead = {}
    for (id, line), position in zip(waiting.items(), positions, strict=True):
        if position is not None:
            # The owner's own jobs before this one: those in its line, and all in more urgent lines.
            earlier = int(position) + sum(lengths[line.owner][: PRIORITIES.index(line.priority)])
            turn = owners.index(line.owner) if line.owner in owners else len(owners)
            # Each other owner has one turn for each of these jobs. An owner that is before this
            # owner in the round has one turn more. No owner has more turns than jobs.
            others = ((index, owner) for index, owner in enumerate(owners) if owner != line.owner)
            ahead[id] = earlier + sum(min(sum(lengths[owner]), earlier + (index < turn)) for index, owner in others)
    return ahead


def _lengths(connection: redis.Redis, queue: str, owners: Iterable[str]) -> dict[str, Sequence[int]]:
    """Return the lengths of each owner's lines, the most urgent first."""
    owners = list(owners)
    with connection.pipeline(transaction=False) as pipeline:
        for owner in owners:
            for priority in PRIORITIES:
                pipeline.llen(keyspace.line(queue, owner, priority))
        lengths = pipeline.execute()
    count = len(PRIORITIES)
    return {owner: lengths[index * count : (index + 1) * count] for index, owner in enumerate(owners)}


def _keys(queue: str) -> list[str]:
    """Return the keys of both scripts, in their order; feed.lua does not use the last key."""
    key_of = keyspace.rq_queue, keyspace.owners_in_line, keyspace.turns, keyspace.last_turn, keyspace.arrivals
    return [key(queue) for key in key_of]
