"""The memory of the Redis server."""

import math
import time
from collections.abc import Callable
from typing import NamedTuple

import redis

REUSE_SECONDS = 0.1
"""Seconds for which a reading is used again, while less than half of the memory is used."""


class ServerMemory(NamedTuple):
    """`used`: used bytes. `limit`: the server's limit in bytes; 0 means no limit."""

    used: int
    limit: int


def memory(connection: redis.Redis) -> ServerMemory | None:
    """Return the server's memory; None if it is unknown, because an ACL forbids `INFO`."""
    try:
        info = connection.info("memory")
    except redis.exceptions.NoPermissionError:
        return None
    return ServerMemory(int(info["used_memory"]), int(info["maxmemory"]))


class RecentMemory:
    """The memory of the Redis server, read at most every `REUSE_SECONDS` while there is room.

    `INFO` costs the server and this process more than most commands. `clock`: returns seconds.
    """

    def __init__(self, connection: redis.Redis, clock: Callable[[], float] = time.monotonic) -> None:
        self._redis = connection
        self._clock = clock
        self._reading: ServerMemory | None = None
        self._until = -math.inf

    def read(self) -> ServerMemory | None:
        """Return the memory as `memory` does."""
        if self._clock() >= self._until:
            self._reading = reading = memory(self._redis)
            has_room = reading is None or not reading.limit or 2 * reading.used < reading.limit
            self._until = self._clock() + REUSE_SECONDS if has_room else -math.inf
        return self._reading
