"""Counters of the processes that serve no HTTP: sums in the store, for the service's metrics.

A count that cannot be written is lost, so that no job waits for it.
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
"""Upper bounds of the buckets of durations, in seconds."""


class Durations(NamedTuple):
    """A histogram of durations.

    `counts`: number of durations in each bucket. The last one is for durations above all `BUCKETS`.
    `seconds`: sum of all durations.
    """

    counts: list[int]
    seconds: float


class Counters:
    """The counters of one store, in one Redis hash.

    A field of the hash is a JSON list of the counter's name and its labels.
    """

    def __init__(self, connection: redis.Redis) -> None:
        self._redis = connection

    def lost(self, kind: str) -> None:
        """Count an attempt that was given up because its process was lost."""
        self._add({("lost", kind): 1})

    def child_ended(self, reason: str) -> None:
        """Count a child process of a worker that has ended, or was killed, and is replaced."""
        self._add({("child_ended", reason): 1})

    def ran(self, summary: Json, pipeline: Pipeline) -> None:
        """Queue the commands that count the durations of a result's rankings.

        `summary`: the result's summary, of one layer or of several.
        """
        sums: dict[tuple[str, ...], float] = {}
        parts = [summary, *summary.get("layers", {}).values(), summary.get("joint") or {}]
        for ranking in (each for part in parts for each in part.get("rankings", [])):
            method, seconds = str(ranking["method"]["name"]), float(ranking["seconds"])
            # A child process, which may be compromised, wrote the summary: accept only known names.
            if method not in METHODS:
                continue
            for key, amount in ((_bucket(seconds), 1.0), ("sum", seconds)):
                field = ("run", method, key)
                sums[field] = sums.get(field, 0.0) + amount
        _queue(sums, pipeline)

    def _add(self, sums: Mapping[tuple[str, ...], float]) -> None:
        try:
            with self._redis.pipeline() as pipeline:
                _queue(sums, pipeline)
                pipeline.execute()
        except redis.exceptions.RedisError as error:
            log.warning("count lost", error=str(error))


class CounterValues(NamedTuple):
    """All counters at one moment.

    `lost`: attempts by kind of record. `child_ended`: child processes by reason.
    `run`: durations of rankings by method.
    """

    lost: dict[str, float]
    child_ended: dict[str, float]
    run: dict[str, Durations]


def request(pipeline: Pipeline) -> None:
    """Queue the command whose reply `read` takes."""
    pipeline.hgetall(keyspace.counters())


def read(reply: Any) -> CounterValues:
    """Return the counters of the reply. Any: redis-py types no reply."""
    values = CounterValues({}, {}, {})
    for field, value in cast(dict[bytes, bytes], reply).items():
        try:
            _add_to(values, json.loads(field), float(value))
        except (ValueError, TypeError, KeyError, IndexError, OverflowError):
            # Another program, or another version of Unitrank, wrote the field: skip this field.
            log.warning("not a count", field=text(field)[:100])
    return values


def _add_to(values: CounterValues, key: Sequence[str], value: float) -> None:
    """Add one field's value.

    Raises ValueError, TypeError, KeyError or IndexError for a malformed field.
    """
    if not all(isinstance(part, str) for part in key):
        raise TypeError("a counter's name and labels must be text")
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


def _queue(sums: Mapping[tuple[str, ...], float], pipeline: Pipeline) -> None:
    for key, amount in sums.items():
        pipeline.hincrbyfloat(keyspace.counters(), json.dumps(key), amount)


def _bucket(seconds: float) -> str:
    return str(bisect_left(BUCKETS, seconds))
