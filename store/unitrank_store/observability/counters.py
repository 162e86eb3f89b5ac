"""What processes count that nobody asks over HTTP: sums in the store, which the service shows to whoever watches.

A count that cannot be written is lost: no job waits for it.
"""

import json
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, cast

import redis
import structlog
from redis.client import Pipeline

from unitrank_schemas.base import Json
from unitrank_schemas.methods.table import METHODS
from unitrank_store.redis import keyspace
from unitrank_store.redis.decoding import text

log = structlog.get_logger()

BUCKETS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0, 3000.0, 10000.0)
"""Upper ends in seconds of the classes that durations are counted in."""


class Durations(NamedTuple):
    """How many there were in each class (one more than `BUCKETS`: those above all), and their sum in seconds."""

    counts: list[int]
    seconds: float


class Counters:
    """One hash; a field is the JSON of a name and of what distinguishes it."""

    def __init__(self, connection: redis.Redis) -> None:
        self._redis = connection

    def lost(self, kind: str) -> None:
        """An attempt was given up because its process is gone."""
        self._add({("lost", kind): 1})

    def child_ended(self, reason: str) -> None:
        """A worker's child has ended, or was ended, and another one is started."""
        self._add({("child_ended", reason): 1})

    def ran(self, summary: Json) -> None:
        """A job has this result: note what each of its rankings took."""
        sums: dict[tuple[str, ...], float] = {}
        for ranking in summary.get("rankings", []):
            method, seconds = str(ranking["method"]["name"]), float(ranking["seconds"])
            # A child reports its summary: only known names become fields of the hash.
            if method not in METHODS:
                continue
            for key, amount in ((_bucket(seconds), 1.0), ("sum", seconds)):
                at = ("run", method, key)
                sums[at] = sums.get(at, 0.0) + amount
        self._add(sums)

    def _add(self, sums: Mapping[tuple[str, ...], float]) -> None:
        try:
            with self._redis.pipeline() as pipeline:
                for key, amount in sums.items():
                    pipeline.hincrbyfloat(keyspace.counters(), json.dumps(key), amount)
                pipeline.execute()
        except redis.exceptions.RedisError as error:
            log.warning("count lost", error=str(error))


class CounterValues(NamedTuple):
    """All counters at one moment."""

    lost: dict[str, float]
    child_ended: dict[str, float]
    run: dict[str, Durations]


def ask(pipeline: Pipeline) -> None:
    """Have the pipeline bring what `read` takes."""
    pipeline.hgetall(keyspace.counters())


def read(stored: Any) -> CounterValues:
    """From the reply. Any: redis-py types no reply."""
    values = CounterValues({}, {}, {})
    for field, value in cast(dict[bytes, bytes], stored).items():
        try:
            _into(values, json.loads(field), float(value))
        except (ValueError, TypeError, KeyError, IndexError, OverflowError):
            # Somebody else wrote it, or another version of ours: the others can be read all the same.
            log.warning("not a count", field=text(field)[:100])
    return values


def _into(values: CounterValues, key: Sequence[str], value: float) -> None:
    """Raises ValueError, TypeError, KeyError or IndexError for what `Counters` never wrote."""
    if not all(isinstance(part, str) for part in key):
        raise TypeError("names are text")
    name, first, *rest = key
    if name != "run":
        {"lost": values.lost, "child_ended": values.child_ended}[name][first] = value
        return
    durations = values.run.get(first, Durations([0] * (len(BUCKETS) + 1), 0.0))
    if rest[0] == "sum":
        durations = durations._replace(seconds=value)
    else:
        durations.counts[range(len(BUCKETS) + 1)[int(rest[0])]] = int(value)
    values.run[first] = durations


def _bucket(seconds: float) -> str:
    return str(bisect_left(BUCKETS, seconds))
