"""Who is next: jobs wait in a line for each owner and priority, and owners take turns.

RQ's queue is first in, first out: ten thousand jobs of one key would go before anyone else's. So it holds one job at a
time, which the next idle worker takes, and whoever takes it, or adds one, decides anew which is the next. Priorities order
the jobs of an owner: to call all of one's jobs urgent takes no turn from anyone.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import redis
from redis.client import Pipeline

from unitrank_store.redis import keyspace
from unitrank_store.redis.decoding import texts
from unitrank_store.redis.scripts import LuaScript

PRIORITIES = ("high", "normal", "low")
_FEED = LuaScript("unitrank_store.queue", "feed.lua")
_LINE_UP = LuaScript("unitrank_store.queue", "line_up.lua")


class Waiting(NamedTuple):
    """Whose job it is, and how urgent among theirs."""

    owner: str
    priority: str


def line_up(connection: redis.Redis | Pipeline, queue: str, waiting: Waiting, id: str) -> None:
    """Put an id at the end of its line, and the next one of all into RQ's queue."""
    keys = [*_keys(queue), keyspace.line(queue, *waiting)]
    _LINE_UP(connection, keys, owner=waiting.owner, id=id)
    feed(connection, queue)


def feed(connection: redis.Redis | Pipeline, queue: str) -> None:
    """Fill RQ's queue up. Done by whoever takes from it, and now and then by the reaper, for one that died in between."""
    *keys, _ = _keys(queue)
    _FEED(connection, keys, lines=keyspace.lines(queue), priorities=PRIORITIES)


def leave(pipeline: Pipeline, queue: str, waiting: Waiting, id: str) -> None:
    """Take an id out of its line, if it is there."""
    pipeline.lrem(keyspace.line(queue, *waiting), 0, id)


def in_line(connection: redis.Redis, queue: str) -> Sequence[str]:
    """All ids that wait, in no order of turns."""
    owners = texts(connection.zrange(keyspace.owners_in_line(queue), 0, -1))
    with connection.pipeline(transaction=False) as pipeline:
        for owner in owners:
            for priority in PRIORITIES:
                pipeline.lrange(keyspace.line(queue, owner, priority), 0, -1)
        return [id for line in pipeline.execute() for id in texts(line)]


def before(connection: redis.Redis, queue: str, waiting: Mapping[str, Waiting]) -> dict[str, int]:
    """How many will have their turn earlier than each of the ids, as things stand; without those that are in no line."""
    with connection.pipeline() as pipeline:
        pipeline.zrange(keyspace.owners_in_line(queue), 0, -1)
        for id, whose in waiting.items():
            pipeline.lpos(keyspace.line(queue, *whose), id)
        names, *places = pipeline.execute()
    owners = texts(names)
    lengths = _lengths(connection, queue, {*owners, *(whose.owner for whose in waiting.values())})
    ahead = {}
    for (id, whose), place in zip(waiting.items(), places, strict=True):
        if place is not None:
            earlier = int(place) + sum(lengths[whose.owner][: PRIORITIES.index(whose.priority)])
            turn = owners.index(whose.owner) if whose.owner in owners else len(owners)
            # Each other owner has as many turns as this one has before, and one more who is before it in the round.
            others = ((index, owner) for index, owner in enumerate(owners) if owner != whose.owner)
            ahead[id] = earlier + sum(min(sum(lengths[owner]), earlier + (index < turn)) for index, owner in others)
    return ahead


def _lengths(connection: redis.Redis, queue: str, owners: Iterable[str]) -> dict[str, Sequence[int]]:
    """Of each owner's lines, the most urgent first."""
    owners = list(owners)
    with connection.pipeline(transaction=False) as pipeline:
        for owner in owners:
            for priority in PRIORITIES:
                pipeline.llen(keyspace.line(queue, owner, priority))
        lengths = pipeline.execute()
    count = len(PRIORITIES)
    return {owner: lengths[index * count : (index + 1) * count] for index, owner in enumerate(owners)}


def _keys(queue: str) -> list[str]:
    whose = keyspace.owners_in_line, keyspace.turns, keyspace.last_turn, keyspace.arrivals
    return [keyspace.rq_queue(queue), *(name(queue) for name in whose)]
