"""Says every few seconds that the worker is alive, and what it does."""

import threading
import time
from collections.abc import Callable
from dataclasses import replace

import redis
import structlog

from unitrank_store.worker_registry import WorkerEntry, WorkerRegistry

log = structlog.get_logger()

# Of the time between two, until one that was lost is made up for: a store that comes back hears of everyone before anyone is
# given up.
AGAIN_SHARE = 0.1


class Heartbeat:
    """A thread of its own: an idle worker blocks in the queue for minutes."""

    def __init__(self, workers: WorkerRegistry, worker: WorkerEntry, every: float, memory: Callable[[], int]) -> None:
        self._workers = workers
        self._worker = worker
        self._every = every
        self._memory = memory
        # The second SIGTERM ends a job in the middle of whatever its thread does, a beat too.
        self._lock = threading.RLock()
        self._stop = threading.Event()
        self._heard = 0.0
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

    def working_on(self, job: str | None, models: list[str]) -> None:
        """Tell what has changed at once: a running record whose worker says for long that it does something else is given up."""
        with self._lock:
            before, self._worker = self._worker, replace(self._worker, job=job, models=models)
        if self._worker != before:
            self._beat()

    def _run(self) -> None:
        while not self._stop.wait(self._every * AGAIN_SHARE):
            # By the calendar's clock, as the store's: on a machine that slept, what was said before has expired.
            if not 0 <= time.time() - self._heard < self._every:
                self._beat()

    def _beat(self) -> None:
        with self._lock:
            worker = replace(self._worker, memory=self._memory())
            try:
                self._workers.beat(worker)
            except redis.exceptions.RedisError as error:
                log.warning("beat lost", worker=worker.name, error=str(error))
                self._heard = 0.0
            else:
                self._heard = time.time()
