"""Decides when the child of a running job must be killed, from the state of the job's record."""

import math
import time
from collections.abc import Callable
from typing import Literal

import redis

from unitrank_store.jobs.job_store import JobStore
from unitrank_store.jobs.records import RecordState

# A new child must import torch first.
START_SECONDS = 120.0
# A child that reports progress within this time ends the job without being killed, and keeps its
# models.
CANCEL_SECONDS = 0.25
# Time for the steps of RQ after the end of a job.
CLOSING_SECONDS = 5.0

Phase = Literal["waiting", "running", "cancelling", "over"]
KillReason = Literal["lost", "timed_out", "too_slow", "cancelled", "given_up", "stopped"]


class RunWatch:
    """Watches the record of one run, from the moment when the child gets the job.

    The phase is `over` if the record has ended, was given to another attempt, or was deleted.
    """

    def __init__(
        self,
        jobs: JobStore,
        id: str,
        attempt: int,
        worker: str,
        clock: Callable[[], float] = time.monotonic,
        cpu_clock: Callable[[], float] = lambda: 0.0,
    ) -> None:
        """`attempt`: number of the run. `worker`: name of the worker. `clock`: returns seconds.

        `cpu_clock`: returns the seconds of CPU time that the child has used.
        `jobs` must read over a connection that does not wait for the store.
        """
        self.jobs = jobs
        self.id = id
        self._worker = worker
        self._clock = clock
        self._cpu_clock = cpu_clock
        records = jobs.get_many([id])
        self._attempt = attempt
        timeout = records[0].timeout if records else CLOSING_SECONDS
        self._cpu_limit = records[0].cpu_seconds if records else math.inf
        self._limits: dict[Phase, tuple[float, KillReason]] = {
            "waiting": (START_SECONDS, "lost"),
            "running": (timeout, "timed_out"),
            "cancelling": (CANCEL_SECONDS, "cancelled"),
            "over": (CLOSING_SECONDS, "given_up"),
        }
        self._phase: Phase = "waiting"
        self._since = self._last_read = clock()
        self._cpu_since = cpu_clock()

    @property
    def attempt(self) -> int:
        """The number of this run's attempt, also before it starts."""
        return self._attempt

    @property
    def unwanted(self) -> bool:
        """Whether the result is not needed any more, as of the last call of `reason`."""
        return self._phase in ("cancelling", "over")

    def reason(self) -> KillReason | None:
        """Why the child must be killed now; None while it may go on.

        Seconds without an answer of the store do not count: jobs can then neither start nor end.
        """
        try:
            phase = self._phase_of(self.jobs.state(self.id))
        except redis.exceptions.RedisError:
            phase = self._phase
            self._since += self._clock() - self._last_read
        now = self._last_read = self._clock()
        if phase != self._phase:
            self._phase, self._since, self._cpu_since = phase, now, self._cpu_clock()
        if phase == "running" and self._cpu_clock() - self._cpu_since >= self._cpu_limit:
            return "too_slow"
        seconds, reason = self._limits[phase]
        return reason if now - self._since >= seconds else None

    def _phase_of(self, state: RecordState | None) -> Phase:
        if state is None:
            return "over"
        if state.status == "queued" and state.attempt == self._attempt - 1:
            return "waiting"
        is_this_run = state.attempt == self._attempt and state.worker == self._worker
        if is_this_run and (state.status == "running" or state.status == "cancelling"):
            return state.status
        return "over"
