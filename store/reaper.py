"""Looks every few seconds for what was lost, and puts it right: one process of all does it.

- a record is `queued` but in no queue, or was taken out by a worker that died at once: pushed again;
- a record is `running` but its worker is gone or works on something else: given up, and queued again once;
- a record is `cancelling` and nobody ends it: cancelled;
- ids of records that have expired, and what RQ remembers of executions that were given up: forgotten.

A suspicion counts when it has lasted: a server that was away for a while comes back with every heartbeat expired.
"""

import logging
import secrets
import threading
import time
from collections.abc import Callable

import redis

from store import names
from store.jobs import Jobs
from store.queue import in_intermediate, in_queue, push, queue_of, transport_id
from store.record import JobRecord, Json
from store.settings import Settings
from store.workers import Worker, Workers

log = logging.getLogger("unitrank.reaper")

Suspicion = tuple[str, str, int]


class Reaper:
    """`rejected` is told the digest and the problem of each model whose inspection has failed here."""

    def __init__(self, connection: redis.Redis, settings: Settings, rejected: Callable[[str, Json], None] | None = None) -> None:
        self._redis = connection
        self._settings = settings
        self._rejected = rejected or (lambda digest, problem: None)
        self._kinds = [Jobs(connection, settings.result_ttl, settings.failure_ttl, kind) for kind in ("job", "inspection")]
        self._workers = Workers(connection, settings.heartbeat_grace)
        self._token = secrets.token_hex(8)
        self._since: dict[Suspicion, float] = {}

    def run(self, stop: threading.Event) -> None:
        """Sweep until told to stop; an outage of the store is waited out."""
        while not stop.wait(self._settings.reaper_interval):
            try:
                self.sweep()
            except redis.exceptions.RedisError as error:
                log.warning("event=sweep_failed error=%s", error)

    def sweep(self) -> list[JobRecord]:
        """The records that were put right; none where another process holds the lock."""
        if not self._holds_lock():
            self._since.clear()
            return []
        workers = {worker.name: worker for worker in self._workers.list()}
        seen: set[Suspicion] = set()
        put_right = []
        for jobs in self._kinds:
            for record in jobs.live():
                if self._is_due(jobs, record, workers.get(record.worker or ""), seen):
                    put_right.append(self._put_right(jobs, record))
            jobs.forget_expired()
            queue_of(self._redis, jobs.kind).started_job_registry.cleanup()
        self._since = {suspicion: since for suspicion, since in self._since.items() if suspicion in seen}
        return put_right

    def _is_due(self, jobs: Jobs, record: JobRecord, worker: Worker | None, seen: set[Suspicion]) -> bool:
        patience = self._patience(jobs, record, worker)
        if patience is None:
            return False
        suspicion = (jobs.kind, record.id, record.version)
        seen.add(suspicion)
        now = time.monotonic()
        return now - self._since.setdefault(suspicion, now) >= patience

    def _patience(self, jobs: Jobs, record: JobRecord, worker: Worker | None) -> float | None:
        """Seconds that the record may stay as it is; None where nothing is wrong with it."""
        beat, grace = self._settings.heartbeat, self._settings.heartbeat_grace
        if record.status == "queued":
            if record.waiting_for or in_queue(self._redis, jobs.kind, record):
                return None
            return grace if in_intermediate(self._redis, jobs.kind, record) else beat
        if worker is None or worker.job != record.id:
            return beat
        return grace if record.status == "cancelling" else None

    def _put_right(self, jobs: Jobs, record: JobRecord) -> JobRecord:
        log.warning("event=lost kind=%s job=%s status=%s worker=%s", jobs.kind, record.id, record.status, record.worker)
        if record.status != "queued":
            record = jobs.requeue(record.id, record.attempt)
        if record.status == "queued":
            queue = queue_of(self._redis, jobs.kind)
            self._redis.lrem(queue.intermediate_queue_key, 0, transport_id(record))
            push(self._redis, jobs, record, front=True)
        if jobs.kind == "inspection" and record.problem is not None:
            self._rejected(str(record.request["digest"]), record.problem)
        return record

    def _holds_lock(self) -> bool:
        lasts = max(1, int(self._settings.reaper_interval * 3000))
        if self._redis.set(names.reaper_lock(), self._token, nx=True, px=lasts):
            return True
        if self._redis.get(names.reaper_lock()) != self._token.encode():
            return False
        return bool(self._redis.pexpire(names.reaper_lock(), lasts))
