"""The registry of live workers. Each worker renews its entry every few seconds; entries expire."""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import redis

from unitrank_store.redis import keyspace
from unitrank_store.redis.decoding import known_fields, texts


@dataclass(frozen=True)
class WorkerEntry:
    """The last heartbeat of one worker.

    `started_at`, `seen_at`: unix times, in seconds, of the worker's start and of this heartbeat.
    `memory`: resident bytes of the worker's child processes, and `children`: their number.
    `job`: the id of the record that the worker runs, None while the worker is idle.
    `models`: names of the models that the children keep loaded, by tenant.
    `device_memory`: bytes that a job can use on the worker's device; 0 if they are unknown.
    `unconfined`: why the children are not confined; None if they are.
    `distributes`: whether the worker divides jobs between nodes; None in the heartbeat of an older
    worker, which does not say so.
    """

    name: str
    queue: str
    device: str
    pid: int
    host: str
    started_at: float
    seen_at: float
    memory: int = 0
    job: str | None = None
    models: Mapping[str, Sequence[str]] = field(default_factory=dict)
    children: int = 0
    unconfined: str | None = None
    device_memory: int = 0
    distributes: bool | None = None


class WorkerRegistry:
    """The entries of all live workers.

    `lost_after`: seconds without a heartbeat after which a worker's entry expires.
    """

    def __init__(self, connection: redis.Redis, lost_after: float = 20.0) -> None:
        self.lost_after = lost_after
        self._redis = connection

    def beat(self, worker: WorkerEntry) -> None:
        """Write the worker's entry, with the current time as `seen_at`."""
        entry = {**asdict(worker), "seen_at": time.time()}
        with self._redis.pipeline() as pipeline:
            pipeline.set(keyspace.worker(worker.name), json.dumps(entry), px=max(1, int(self.lost_after * 1000)))
            pipeline.sadd(keyspace.workers(), worker.name)
            pipeline.execute()

    def leave(self, name: str) -> None:
        """Remove the entry of a worker that stops."""
        with self._redis.pipeline() as pipeline:
            pipeline.delete(keyspace.worker(name))
            pipeline.srem(keyspace.workers(), name)
            pipeline.execute()

    def entry(self, name: str) -> WorkerEntry | None:
        """Return a worker's entry, or None when the worker is not alive.

        An entry without an expiry is ignored: a worker always writes one with an expiry.
        """
        with self._redis.pipeline() as pipeline:
            pipeline.mget([keyspace.worker(name)])
            pipeline.pttl(keyspace.worker(name))
            (stored,), milliseconds = pipeline.execute()
        return _decoded(stored) if milliseconds > 0 else None

    def list(self, queue: str | None = None) -> "WorkerEntries":
        """Return the entries of the live workers, sorted by name.

        `queue`: return only the workers of this queue.
        """
        names = sorted(texts(self._redis.smembers(keyspace.workers())))
        if not names:
            return []
        entries = self._redis.mget([keyspace.worker(name) for name in names])
        expired = [name for name, entry in zip(names, entries, strict=True) if entry is None]
        if expired:
            self._redis.srem(keyspace.workers(), *expired)
        alive = [_decoded(entry) for entry in entries if entry is not None]
        return [worker for worker in alive if worker is not None and queue in (None, worker.queue)]


# Inside the class `WorkerRegistry`, the name `list` means its method.
WorkerEntries = list[WorkerEntry]


def _decoded(stored: Any) -> WorkerEntry | None:
    """Return the entry, or None when the stored value does not have a worker's format."""
    # Any: redis-py's types also cover clients that decode replies to text
    try:
        fields = json.loads(stored)
        models = {tenant: list(names) for tenant, names in fields["models"].items()}
        return WorkerEntry(**known_fields(WorkerEntry, {**fields, "models": models}))
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
