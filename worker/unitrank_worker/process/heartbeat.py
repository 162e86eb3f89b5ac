"""Writes a worker's entry, with its job and models, into the registry every few seconds."""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import redis
import structlog

from unitrank_store.worker_registry import WorkerEntry, WorkerRegistry
from unitrank_worker.children.pool import Load

log = structlog.get_logger()

# After this share of a heartbeat's interval, a failed heartbeat or a changed entry is sent. After
# an outage of the store, the reaper gives up an attempt within half of the interval.
AGAIN_SHARE = 0.1


class Heartbeat:
    """Sends heartbeats in a thread, because an idle worker blocks in the queue for minutes.

    `every`: seconds between two heartbeats. `load`: measures the children. `clock`: returns unix
    time in seconds. Unix time goes on while the machine sleeps, and the entry in the registry
    expires then.
    """

    def __init__(
        self,
        workers: WorkerRegistry,
        worker: WorkerEntry,
        every: float,
        load: Callable[[], Load],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._workers = workers
        self._worker = worker
        self._every = every
        self._load = load
        self._clock = clock
        # A second SIGTERM can interrupt the main thread while it holds the lock, and its handler
        # takes the lock again. Hence an RLock.
        self._lock = threading.RLock()
        self._stop = threading.Event()
        self._sent_at = 0.0
        self._sent: WorkerEntry | None = None
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def start(self, unconfined: str | None = None, device_memory: int = 0) -> None:
        """Send a first heartbeat and start the thread.

        `unconfined`: why the worker's children are not confined; None if they are.
        `device_memory`: bytes that a job can use on the worker's device; 0 if they are unknown.
        """
        self._worker = replace(self._worker, unconfined=unconfined, device_memory=device_memory)
        self._beat()
        self._thread.start()

    def stop(self) -> None:
        """Stop the thread and remove the worker from the registry."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()
        self._workers.leave(self._worker.name)

    def working_on(self, job: str | None, models: Mapping[str, Sequence[str]], *, at_once: bool = True) -> None:
        """Note the worker's job, and the models of each tenant.

        Without `at_once` the thread sends them a little later.

        The reaper gives up a running job if the entry of its worker names another job for longer
        than half of the interval.
        """
        with self._lock:
            self._worker = replace(self._worker, job=job, models=models)
        if at_once and self._worker != self._sent:
            self._beat()

    def beat_if_due(self) -> None:
        """Send a heartbeat if the last one failed, if the entry has changed, or if it is time."""
        if self._worker != self._sent or not 0 <= self._clock() - self._sent_at < self._every:
            self._beat()

    def _run(self) -> None:
        while not self._stop.wait(self._every * AGAIN_SHARE):
            self.beat_if_due()

    def _beat(self) -> None:
        with self._lock:
            entry = self._worker
            worker = replace(entry, **self._load()._asdict())
            try:
                self._workers.beat(worker)
            except redis.exceptions.RedisError as error:
                log.warning("heartbeat lost", worker=worker.name, error=str(error))
                self._sent_at = 0.0
            else:
                self._sent_at = self._clock()
                self._sent = entry
