"""Which workers are alive and what they do, as they say themselves every few seconds."""

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import redis

from unitrank_store.redis import keyspace
from unitrank_store.redis.decoding import texts


@dataclass(frozen=True)
class WorkerEntry:
    """A worker's last word. `job` and `attempt` are what it works on; `memory` is its child's, in bytes."""

    name: str
    queue: str
    device: str
    pid: int
    host: str
    started_at: float
    seen_at: float
    memory: int = 0
    job: str | None = None
    models: Sequence[str] = ()


class WorkerRegistry:
    """The registry; a worker that is silent for `lost_after` seconds is out of it."""

    def __init__(self, connection: redis.Redis, lost_after: float = 20.0) -> None:
        self.lost_after = lost_after
        self._redis = connection

    def beat(self, worker: WorkerEntry) -> None:
        """Say that it is alive, and what it does."""
        entry = {**asdict(worker), "models": list(worker.models), "seen_at": time.time()}
        with self._redis.pipeline() as pipeline:
            pipeline.set(keyspace.worker(worker.name), json.dumps(entry), px=max(1, int(self.lost_after * 1000)))
            pipeline.sadd(keyspace.workers(), worker.name)
            pipeline.execute()

    def leave(self, name: str) -> None:
        """Say goodbye."""
        with self._redis.pipeline() as pipeline:
            pipeline.delete(keyspace.worker(name))
            pipeline.srem(keyspace.workers(), name)
            pipeline.execute()

    def entry(self, name: str) -> WorkerEntry | None:
        """The last word of one of them; None where it is not alive. A word that does not go by itself is none of theirs."""
        with self._redis.pipeline() as pipeline:
            pipeline.mget([keyspace.worker(name)])
            pipeline.pttl(keyspace.worker(name))
            (stored,), left = pipeline.execute()
        return _worker(stored) if left > 0 else None

    def list(self, queue: str | None = None) -> "WorkerEntries":
        """Those alive, by name; of one queue where it is given."""
        names = sorted(texts(self._redis.smembers(keyspace.workers())))
        if not names:
            return []
        entries = self._redis.mget([keyspace.worker(name) for name in names])
        silent = [name for name, entry in zip(names, entries, strict=True) if entry is None]
        if silent:
            self._redis.srem(keyspace.workers(), *silent)
        alive = [_worker(entry) for entry in entries if entry is not None]
        return [worker for worker in alive if worker is not None and queue in (None, worker.queue)]


# `WorkerRegistry.list` takes the name of the built-in inside the class.
WorkerEntries = list[WorkerEntry]


def _worker(stored: Any) -> WorkerEntry | None:
    """None for what no worker said."""
    # Any: redis-py's types also hold the replies of clients that decode
    try:
        fields = json.loads(stored)
        return WorkerEntry(**{**fields, "models": tuple(fields["models"])})
    except (ValueError, TypeError, KeyError):
        return None
