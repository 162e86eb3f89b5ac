"""Who is next: jobs wait in a line for each owner and priority, and owners take turns.

RQ's queue is first in, first out: ten thousand jobs of one key would go before anyone else's. So it holds one job at a
time, which the next idle worker takes, and whoever takes it, or adds one, decides anew which is the next. Priorities order
the jobs of an owner: to call all of one's jobs urgent takes no turn from anyone.
"""

from collections.abc import Sequence
from importlib.resources import files
from typing import NamedTuple

import redis
from redis.client import Pipeline

from store import names
from store.replies import texts

PRIORITIES = ("high", "normal", "low")
_FEED = files("store").joinpath("feed.lua").read_text()
_LINE_UP = files("store").joinpath("line_up.lua").read_text()


class Waiting(NamedTuple):
    """Whose job it is, and how urgent among theirs."""

    owner: str
    priority: str


def line_up(connection: redis.Redis | Pipeline, queue: str, waiting: Waiting, id: str) -> None:
    """Put an id at the end of its line, and the next one of all into RQ's queue."""
    keys = [*_keys(queue), names.line(queue, *waiting)]
    connection.eval(_LINE_UP, len(keys), *keys, waiting.owner, id)
    feed(connection, queue)


def feed(connection: redis.Redis | Pipeline, queue: str) -> None:
    """Fill RQ's queue up. Done by whoever takes from it, and now and then by the reaper, for one that died in between."""
    keys = _keys(queue)
    connection.eval(_FEED, len(keys), *keys, names.lines(queue), *PRIORITIES)


def leave(pipeline: Pipeline, queue: str, waiting: Waiting, id: str) -> None:
    """Take an id out of its line, if it is there."""
    pipeline.lrem(names.line(queue, *waiting), 0, id)


def in_line(connection: redis.Redis, queue: str) -> Sequence[str]:
    """All ids that wait, in no order of turns."""
    owners = texts(connection.zrange(names.owners_in_line(queue), 0, -1))
    with connection.pipeline(transaction=False) as pipeline:
        for owner in owners:
            for priority in PRIORITIES:
                pipeline.lrange(names.line(queue, owner, priority), 0, -1)
        return [id for line in pipeline.execute() for id in texts(line)]


def before(connection: redis.Redis, queue: str, waiting: Waiting, id: str) -> int | None:
    """How many will have their turn earlier, as things stand; None where the id is in no line."""
    with connection.pipeline() as pipeline:
        pipeline.lpos(names.line(queue, *waiting), id)
        for priority in PRIORITIES:
            pipeline.llen(names.line(queue, waiting.owner, priority))
        pipeline.zrange(names.owners_in_line(queue), 0, -1)
        place, *lengths, found = pipeline.execute()
    if place is None:
        return None
    own = int(place) + sum(map(int, lengths[: PRIORITIES.index(waiting.priority)]))
    owners = texts(found)
    turn = owners.index(waiting.owner) if waiting.owner in owners else len(owners)
    others = _lengths(connection, queue, [owner for owner in owners if owner != waiting.owner])
    # Each other owner has as many turns as this one has before, and one more who is before it in the round.
    return own + sum(min(length, own + (index < turn)) for index, length in enumerate(others))


def _lengths(connection: redis.Redis, queue: str, owners: Sequence[str]) -> list[int]:
    with connection.pipeline(transaction=False) as pipeline:
        for owner in owners:
            for priority in PRIORITIES:
                pipeline.llen(names.line(queue, owner, priority))
        found = pipeline.execute()
    count = len(PRIORITIES)
    return [sum(found[start : start + count]) for start in range(0, len(found), count)]


def _keys(queue: str) -> list[str]:
    whose = names.owners_in_line, names.turns, names.last_turn, names.arrivals
    return [names.rq_queue(queue), *(name(queue) for name in whose)]
