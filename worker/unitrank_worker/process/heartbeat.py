"""Tells the register every few seconds that the worker is alive, which job it runs and which models it holds."""

import threading
import time
from collections.abc import Callable
from dataclasses import replace

import redis
import structlog

from unitrank_store.worker_registry import WorkerEntry, WorkerRegistry

log = structlog.get_logger()

# Of the time between two heartbeats: after it a lost heartbeat, or a change that was not sent, is sent. A store that comes
# back hears of every worker before the reaper gives a worker up, which takes half of the time between two.
AGAIN_SHARE = 0.1


class Heartbeat:
    """A thread of its own: an idle worker blocks in the queue for minutes.

    `every`: seconds between two beats. `clock`: seconds by the calendar, as the store's: on a machine that slept, the entry in
    the register has expired.
    """

    def __init__(
        self,
        workers: WorkerRegistry,
        worker: WorkerEntry,
        every: float,
        memory: Callable[[], int],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._workers = workers
        self._worker = worker
        self._every = every
        self._memory = memory
        self._clock = clock
        # A second SIGTERM interrupts the main thread anywhere, also while it holds this lock: its handler takes the lock again.
        self._lock = threading.RLock()
        self._stop = threading.Event()
        self._heard = 0.0
        self._sent: WorkerEntry | None = None
        self._thread = threading.Thread(target=self._run, name="beats", daemon=True)

    def start(self) -> None:
        """Begin, with a first beat."""
        self._beat()
        self._thread.start()

    def stop(self) -> None:
        """End, and leave the register."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()
        self._workers.leave(self._worker.name)

    def working_on(self, job: str | None, models: list[str], *, at_once: bool = True) -> None:
        """Send a change of job or models to the register; the thread sends it soon where it is not sent `at_once`.

        The reaper gives up a running record whose worker names another job for long.
        """
        with self._lock:
            self._worker = replace(self._worker, job=job, models=models)
        if at_once and self._worker != self._sent:
            self._beat()

    def beat_if_due(self) -> None:
        """Send a beat that was lost, that has changed, or whose time has come."""
        if self._worker != self._sent or not 0 <= self._clock() - self._heard < self._every:
            self._beat()

    def _run(self) -> None:
        while not self._stop.wait(self._every * AGAIN_SHARE):
            self.beat_if_due()

    def _beat(self) -> None:
        with self._lock:
            entry = self._worker
            worker = replace(entry, memory=self._memory())
            try:
                self._workers.beat(worker)
            except redis.exceptions.RedisError as error:
                log.warning("beat lost", worker=worker.name, error=str(error))
                self._heard = 0.0
            else:
                self._heard = self._clock()
                self._sent = entry
