"""Looks every few seconds for what was lost, and puts it right: one process of all does it.

- a record is `queued` but in no queue, or was taken out by a worker that died at once: pushed again;
- a record is `running` but its worker is gone or works on something else: given up, and queued again once;
- a record is `cancelling` and nobody ends it: cancelled.

A suspicion counts when it has lasted: a server that was away for a while comes back with every heartbeat expired. Workers
then beat at once, so that the second sweep knows: a worker that dies is out of the register after `heartbeat_grace`, suspected
in the next sweep, and given up in the one after that. Who is to follow a process that held the lock tries more often.
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
from unitrank_store.worker_registry import WorkerRegistry

log = structlog.get_logger()

SWEEPS_PER_COLLECTION = 10
# Of those that do not hold the lock.
TRIES_PER_SWEEP = 3


class Reaper:
    """Nothing happens before `sweep` or `run`. `clock`: seconds."""

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
        self._holds = False

    def run(self, stop: threading.Event) -> None:
        """Sweep until told to stop; an outage of the store is waited out."""
        try:
            while not stop.wait(self._settings.reaper_interval / (1 if self._holds else TRIES_PER_SWEEP)):
                try:
                    self.sweep()
                except Exception:
                    # Whatever one sweep stumbles over: without the next one, lost jobs would stay lost.
                    log.exception("sweep failed")
        finally:
            with suppress(redis.exceptions.RedisError):
                self._let_go()

    def sweep(self) -> list[JobRecord]:
        """The records that were put right; none where another process holds the lock."""
        try:
            delete_corrupt_keys(self._redis)
            self._holds = self._takes_lock()
            if self._holds:
                return self._sweep()
        except (redis.exceptions.ConnectionError, redis.exceptions.TimeoutError):
            # What was suspected before the outage may be suspected after it for another reason.
            self._debounce.forget()
            raise
        self._debounce.forget()
        return []

    def _sweep(self) -> list[JobRecord]:
        for kind in QUEUES:
            refill(self._redis, kind)
        put_right = [record for jobs in (self._jobs, self._inspections) for record in self._put_right_lost(jobs)]
        self._debounce.end_round()
        if self._sweeps % SWEEPS_PER_COLLECTION == 0:
            self._garbage.collect()
        self._sweeps += 1
        return put_right

    def _put_right_lost(self, jobs: JobStore) -> list[JobRecord]:
        # What is in a queue, and has not begun, is all right; it may be very much. What moves on meanwhile is looked at, or is in
        # a list too many; what is pushed meanwhile is in its queue when the next sweep looks.
        waiting = waiting_ids(self._redis, jobs.kind)
        taken = taken_ids(self._redis, jobs.kind)
        live = jobs.live(unless_queued=record_ids(waiting))
        around = _Around({worker.name: worker.job for worker in self._workers.list()}, waiting, taken)
        lost = []
        for id, state in live.items():
            patience = self._patience(id, state, around)
            if patience is not None and self._debounce.lasts((jobs.kind, id, state.version), patience):
                lost.append(id)
        # What has changed since it was looked at has begun, or ended, by itself.
        return [self._put_right(jobs, record) for record in jobs.get_many(lost) if record.version == live[record.id].version]

    def _patience(self, id: str, state: RecordState, around: "_Around") -> float | None:
        """Seconds that the record may stay as it is; None where nothing is wrong with it."""
        beat, grace = self._settings.heartbeat, self._settings.heartbeat_grace
        if state.status == "queued":
            transport = transport_id(id, state.attempt)
            if state.waiting_for or transport in around.waiting:
                return None
            return grace if transport in around.taken else beat
        if around.jobs.get(state.worker or "") != id:
            return doubt_seconds(self._settings)
        return grace if state.status == "cancelling" else None

    def _put_right(self, jobs: JobStore, record: JobRecord) -> JobRecord:
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

    def _takes_lock(self) -> bool:
        lasts = int(lock_seconds(self._settings) * 1000)
        if self._redis.set(keyspace.reaper_lock(), self._token, nx=True, px=max(1, lasts)):
            return True
        if self._redis.get(keyspace.reaper_lock()) != self._token.encode():
            return False
        return bool(self._redis.pexpire(keyspace.reaper_lock(), max(1, lasts)))

    def _let_go(self) -> None:
        """Whoever comes next need not wait until the lock is over."""
        if self._redis.get(keyspace.reaper_lock()) == self._token.encode():
            self._redis.delete(keyspace.reaper_lock())


def doubt_seconds(settings: Settings) -> float:
    """How long a worker may be out of the register, or at something else, before its job is given up."""
    return settings.heartbeat / 2


def lock_seconds(settings: Settings) -> float:
    """How long a process is the one that sweeps, after its last sweep."""
    return 2 * settings.reaper_interval


@dataclass(frozen=True)
class _Around:
    """What each worker says that it works on, and RQ's ids of what is in the queue and on its way out of it."""

    jobs: dict[str, str | None]
    waiting: set[str]
    taken: set[str]
