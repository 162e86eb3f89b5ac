"""The reaper searches every few seconds for lost records, and repairs them.

- A `queued` record is in no queue, or the worker that took it died before the start.
  The reaper pushes the record to its queue again. A record that a live worker's entry names is not
  lost: the worker waits for its child to start.
- A `running` record has no worker any more, or its worker runs another record.
  The reaper gives the attempt up; the record is queued again once, then it fails.
- A `cancelling` record has no worker any more, or its worker does not end it.
  The reaper cancels the record.

Only the process with the lock sweeps. The other processes try more often to take the lock, so that
one of them soon replaces a process that died.

A lost record is repaired only if it is still lost some seconds later. After an outage of the Redis
server all heartbeats have expired, and the workers renew them at once: the next sweep then finds no
lost record. A worker that
dies leaves the registry after `heartbeat_grace`. The next sweep notes its record, and the sweep
after that gives the attempt up.
"""

import secrets
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import redis
import structlog

from unitrank_store.blobs.blob_store import BlobStore
from unitrank_store.contents.models import ModelStore
from unitrank_store.contents.waiting_jobs import reject_model
from unitrank_store.full import full_reason
from unitrank_store.jobs.job_store import JobStore
from unitrank_store.jobs.record import JobRecord
from unitrank_store.jobs.records import RecordState
from unitrank_store.observability.counters import Counters
from unitrank_store.observability.logs import bound
from unitrank_store.queue.rq_queue import QUEUES, push, queue_of, record_ids, refill, taken_ids, transport_id, waiting_ids
from unitrank_store.recovery.corrupt_keys import delete_corrupt_keys
from unitrank_store.recovery.debounce import Debounce
from unitrank_store.recovery.garbage import GarbageCollection
from unitrank_store.redis import keyspace
from unitrank_store.settings import Settings
from unitrank_store.unavailable import unavailable_reason
from unitrank_store.worker_registry import WorkerRegistry

log = structlog.get_logger()

SWEEPS_PER_COLLECTION = 10
"""Number of sweeps for each garbage collection."""
TRIES_PER_SWEEP = 3
"""Number of times that a process without the lock tries to take it, in the time of one sweep."""


class Reaper:
    """The reaper of one process; it does nothing before `run` or `sweep` is called.

    `clock`: returns seconds, such as time.monotonic.
    """

    def __init__(self, connection: redis.Redis, settings: Settings, clock: Callable[[], float] = time.monotonic) -> None:
        self._redis = connection
        self._settings = settings
        self._jobs = JobStore.of(connection, settings)
        self._inspections = JobStore.of(connection, settings, kind="inspection")
        self._models = ModelStore(connection, BlobStore.of(settings))
        self._workers = WorkerRegistry(connection, settings.heartbeat_grace)
        self._garbage = GarbageCollection(connection, settings, clock)
        self._debounce = Debounce(clock)
        self._counters = Counters(connection)
        self._token = secrets.token_hex(8)
        self._sweeps = 0
        self._has_lock = False

    def run(self, stop: threading.Event) -> None:
        """Sweep until `stop` is set. A sweep that fails is logged, and the next one tries again."""
        try:
            while not stop.wait(self._settings.reaper_interval / (1 if self._has_lock else TRIES_PER_SWEEP)):
                try:
                    self.sweep()
                except Exception as error:
                    # Every error: without further sweeps, lost jobs would stay lost.
                    if reason := full_reason(error) or unavailable_reason(error):
                        log.warning("sweep waits for the store", reason=reason)
                    else:
                        log.exception("sweep failed")
        finally:
            with suppress(redis.exceptions.RedisError):
                self._release_lock()

    def sweep(self) -> list[JobRecord]:
        """Repair lost records and return them; do nothing if another process has the lock."""
        try:
            delete_corrupt_keys(self._redis)
            self._has_lock = self._take_lock()
            if self._has_lock:
                return self._sweep()
        except redis.exceptions.RedisError as error:
            # The same finding before and after an outage may have different causes.
            if unavailable_reason(error):
                self._debounce.forget()
            raise
        self._debounce.forget()
        return []

    def _sweep(self) -> list[JobRecord]:
        for kind in QUEUES:
            refill(self._redis, kind)
        repaired = [record for jobs in (self._jobs, self._inspections) for record in self._repair_lost(jobs)]
        self._debounce.end_round()
        if self._sweeps % SWEEPS_PER_COLLECTION == 0:
            self._garbage.collect()
        self._sweeps += 1
        return repaired

    def _repair_lost(self, jobs: JobStore) -> list[JobRecord]:
        # A queued record that is in its queue is not lost. There may be many: they are not read.
        # A record that moves on between these reads may be in two of them, which does no harm.
        # A record that is pushed between them is in its queue in the next sweep.
        waiting = waiting_ids(self._redis, jobs.kind)
        taken = taken_ids(self._redis, jobs.kind)
        live = jobs.live(unless_queued=record_ids(waiting))
        whereabouts = _Whereabouts({worker.name: worker.job for worker in self._workers.list()}, waiting, taken)
        lost = []
        for id, state in live.items():
            patience = self._patience(id, state, whereabouts)
            if patience is not None and self._debounce.lasts((jobs.kind, id, state.version), patience):
                lost.append(id)
        # A record with a new version was started, or ended, since `live` was read: it is not lost.
        return [self._repair(jobs, record) for record in jobs.get_many(lost) if record.version == live[record.id].version]

    def _patience(self, id: str, state: RecordState, whereabouts: "_Whereabouts") -> float | None:
        """Return the seconds after which a record in this state is lost; None if it is not lost."""
        heartbeat, grace = self._settings.heartbeat, self._settings.heartbeat_grace
        if state.status == "queued":
            transport = transport_id(id, state.attempt)
            if state.waiting_for or transport in whereabouts.waiting or id in whereabouts.records.values():
                return None
            # A worker's entry names the record a little later than the worker takes the record.
            return grace if transport in whereabouts.taken else heartbeat
        if whereabouts.records.get(state.worker or "") != id:
            return doubt_seconds(self._settings)
        return grace if state.status == "cancelling" else None

    def _repair(self, jobs: JobStore, record: JobRecord) -> JobRecord:
        log.warning("lost", status=record.status, worker=record.worker, **bound(jobs.kind, record))
        if record.status != "queued":
            record = jobs.requeue(record.id, record.attempt)
            self._counters.lost(jobs.kind)
        if record.status == "queued":
            taken = queue_of(self._redis, jobs.kind).intermediate_queue_key
            self._redis.lrem(taken, 0, transport_id(record.id, record.attempt))
            push(self._redis, jobs, record, front=True)
        if jobs.kind == "inspection" and record.problem is not None:
            reject_model(self._jobs, self._models, str(record.request["digest"]), record.problem)
        return record

    def _take_lock(self) -> bool:
        """Take the lock, or extend it; return False if another process has it."""
        milliseconds = max(1, int(lock_seconds(self._settings) * 1000))
        if self._redis.set(keyspace.reaper_lock(), self._token, nx=True, px=milliseconds):
            return True
        if self._redis.get(keyspace.reaper_lock()) != self._token.encode():
            return False
        return bool(self._redis.pexpire(keyspace.reaper_lock(), milliseconds))

    def _release_lock(self) -> None:
        """Delete the lock if this process has it, so that another process can take it at once."""
        if self._redis.get(keyspace.reaper_lock()) == self._token.encode():
            self._redis.delete(keyspace.reaper_lock())


def doubt_seconds(settings: Settings) -> float:
    """Return the seconds that a running record may be without its worker before it is given up.

    The worker is not in the registry then, or its entry names another record.
    """
    return settings.heartbeat / 2


def lock_seconds(settings: Settings) -> float:
    """Return the seconds for which a process keeps the lock after its last sweep."""
    return 2 * settings.reaper_interval


@dataclass(frozen=True)
class _Whereabouts:
    """The places where a live record can be.

    `records`: id of the record that each worker runs or will run, by the worker's name; None for an
    idle worker.
    `waiting`: transport ids in the queue or in a line. `taken`: transport ids that a worker has
    taken from the queue but has not started.
    """

    records: dict[str, str | None]
    waiting: set[str]
    taken: set[str]
