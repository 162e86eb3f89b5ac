"""When a running job has to be ended from outside: what the record says, and for how long it has said so."""

import time
from collections.abc import Callable
from typing import Literal

import redis

from unitrank_store.jobs.job_store import JobStore
from unitrank_store.jobs.records import RecordState

# A cold child may have to import torch first.
START_SECONDS = 120.0
# A child that reports at this moment ends the job itself, and keeps its models.
CANCEL_SECONDS = 0.25
# Time for what RQ does after the end of a job.
CLOSING_SECONDS = 5.0

Phase = Literal["waiting", "running", "cancelling", "over"]
KillReason = Literal["lost", "timed_out", "cancelled", "given_up", "stopped"]


class RunWatch:
    """Follows one run of a record from the moment it is handed to the child.

    `over`: it has ended, was given to another attempt, or is gone; the child then has nothing to work for.
    """

    def __init__(self, jobs: JobStore, id: str, attempt: int, worker: str, clock: Callable[[], float] = time.monotonic) -> None:
        """`attempt` is the number that the run gets; the child may have begun with it already.

        `jobs` reads records over a connection that does not wait for the store.
        """
        self.jobs = jobs
        self.id = id
        self._worker = worker
        self._clock = clock
        records = jobs.get_many([id])
        self._attempt = attempt
        timeout = records[0].timeout if records else CLOSING_SECONDS
        self._limits: dict[Phase, tuple[float, KillReason]] = {
            "waiting": (START_SECONDS, "lost"),
            "running": (timeout, "timed_out"),
            "cancelling": (CANCEL_SECONDS, "cancelled"),
            "over": (CLOSING_SECONDS, "given_up"),
        }
        self._phase: Phase = "waiting"
        self._since = self._looked = clock()

    @property
    def attempt(self) -> int:
        """The number that this run has, or will have once it starts."""
        return self._attempt

    @property
    def unwanted(self) -> bool:
        """Whether nobody wants the result any more, as of the last look: a child that hears it in time ends the job itself."""
        return self._phase in ("cancelling", "over")

    def reason(self) -> KillReason | None:
        """Why the child has to be killed now; None while it may go on.

        Time does not count while the store is away: the worker can neither begin nor end a job then.
        """
        try:
            phase = self._phase_of(self.jobs.state(self.id))
        except redis.exceptions.RedisError:
            phase = self._phase
            self._since += self._clock() - self._looked
        now = self._looked = self._clock()
        if phase != self._phase:
            self._phase, self._since = phase, now
        seconds, reason = self._limits[phase]
        return reason if now - self._since >= seconds else None

    def _phase_of(self, state: RecordState | None) -> Phase:
        if state is None:
            return "over"
        if state.status == "queued" and state.attempt == self._attempt - 1:
            return "waiting"
        mine = state.attempt == self._attempt and state.worker == self._worker
        if mine and (state.status == "running" or state.status == "cancelling"):
            return state.status
        return "over"
