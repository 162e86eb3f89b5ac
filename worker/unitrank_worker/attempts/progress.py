"""Writes the progress of an attempt into its record."""

import time
from collections.abc import Callable

import redis
import structlog

from unitrank_schemas.base import Json
from unitrank_store.jobs.job_store import JobStore
from unitrank_store.jobs.record import JobRecord

log = structlog.get_logger()


class ProgressWriter:
    """Writes the progress of an attempt into its record, at most once every `seconds`.

    `stopped` becomes true when the record was cancelled, or given to another attempt.
    """

    def __init__(self, jobs: JobStore, record: JobRecord, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._jobs = jobs
        self._record = record
        self._seconds = seconds
        self._clock = clock
        self._next = 0.0
        self.stopped = False

    def __call__(self, progress: Json) -> None:
        if progress["total"] and self._clock() < self._next:
            return
        self._next = self._clock() + self._seconds
        try:
            written = self._jobs.progress(self._record.id, self._record.attempt, progress)
        except redis.exceptions.RedisError as error:
            # A job goes on while the store does not answer. Only its end must wait for the store.
            log.warning("progress lost", error=str(error))
            return
        self.stopped = written != "written"
