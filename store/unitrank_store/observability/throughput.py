"""The throughput of each device, which recent jobs measured, for estimates of durations."""

import redis

from unitrank_store.redis import keyspace
from unitrank_store.redis.scripts import LuaScript

WEIGHT = 0.2
"""Weight of a new measurement: after ten jobs, the average before them has a weight of a tenth."""

OPERATIONS_PER_SECOND = 2e10
"""Assumed speed of a device before a job has measured it."""

_NOTE = LuaScript("unitrank_store.observability", "note_throughput.lua")


class Throughput:
    """A moving average of the throughput for each device.

    The amount of work may have any unit, if all calls use the same one. Unitrank counts operations.
    """

    def __init__(self, connection: redis.Redis) -> None:
        self._redis = connection

    def note(self, device: str, work: float, seconds: float) -> None:
        """Add a measurement: the amount of `work` that took `seconds`. Ignored if either is 0."""
        if work > 0 and seconds > 0:
            _NOTE(self._redis, [keyspace.throughput()], device=device, rate=work / seconds, weight=WEIGHT)

    def rate(self, device: str | None = None) -> float | None:
        """Return the work per second of a device, or (None) of the fastest one.

        Returns None before the first measurement.
        """
        if device is None:
            return max((float(rate) for rate in self._redis.hvals(keyspace.throughput())), default=None)
        rate = self._redis.hget(keyspace.throughput(), device)
        return None if rate is None else float(rate)
