"""The throughput of each device, which recent jobs measured, for estimates of durations."""

import math
import time
from collections.abc import Callable

import redis
from redis.client import Pipeline

from unitrank_store.redis import keyspace
from unitrank_store.redis.scripts import LuaScript

WEIGHT = 0.2
"""Weight of a new measurement: after ten jobs, the average before them has a weight of a tenth."""

OPERATIONS_PER_SECOND = 2e10
"""Assumed speed of a device before a job has measured it."""

REUSE_SECONDS = 0.2
"""Seconds for which the rate of the fastest device is used again."""

_NOTE = LuaScript("unitrank_store.observability", "note_throughput.lua")


class Throughput:
    """A moving average of the throughput for each device.

    The amount of work may have any unit, if all calls use the same one. Unitrank counts operations.
    """

    def __init__(self, connection: redis.Redis, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock`: returns seconds."""
        self._redis = connection
        self._clock = clock
        self._fastest: float | None = None
        self._reuse_until = -math.inf

    def note(self, device: str, work: float, seconds: float, pipeline: Pipeline | None = None) -> None:
        """Add a measurement: the amount of `work` that took `seconds`. Ignored if either is 0.

        `pipeline`: queues the command there; None sends the command at once.
        """
        if work > 0 and seconds > 0:
            self._reuse_until = -math.inf
            client = self._redis if pipeline is None else pipeline
            _NOTE(client, [keyspace.throughput()], device=device, rate=work / seconds, weight=WEIGHT)

    def rate(self, device: str | None = None) -> float | None:
        """Return the work per second of a device, or (None) of the fastest one.

        Returns None before the first measurement. The fastest rate is read at most every
        `REUSE_SECONDS`, because each estimate needs it.
        """
        if device is None:
            if self._clock() >= self._reuse_until:
                self._fastest = max((float(rate) for rate in self._redis.hvals(keyspace.throughput())), default=None)
                self._reuse_until = self._clock() + REUSE_SECONDS
            return self._fastest
        rate = self._redis.hget(keyspace.throughput(), device)
        return None if rate is None else float(rate)
