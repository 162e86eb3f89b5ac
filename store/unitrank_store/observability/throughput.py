"""How fast each device has been of late, for estimates: work done per second, as the jobs measured it."""

import redis

from unitrank_store.redis import keyspace
from unitrank_store.redis.scripts import LuaScript

# The weight of the newest job: after ten jobs an old speed counts for a tenth.
WEIGHT = 0.2

_NOTE = LuaScript("unitrank_store.observability", "note_throughput.lua")


class Throughput:
    """A moving average a device; `work` has any unit, the same for noting and for asking (`rows`, operations)."""

    def __init__(self, connection: redis.Redis) -> None:
        self._redis = connection

    def note(self, device: str, work: float, seconds: float) -> None:
        """Remember a measurement; one without work or time says nothing."""
        if work > 0 and seconds > 0:
            _NOTE(self._redis, [keyspace.throughput()], device=device, rate=work / seconds, weight=WEIGHT)

    def rate(self, device: str | None = None) -> float | None:
        """Work per second of that device, or of the fastest; None before the first measurement."""
        if device is None:
            return max((float(rate) for rate in self._redis.hvals(keyspace.throughput())), default=None)
        rate = self._redis.hget(keyspace.throughput(), device)
        return None if rate is None else float(rate)
