"""The states of a job's record. Every change is a compare-and-set; late changes are rejected.

            create                 start                   finish
              │                      │                       │
              ▼                      ▼                ┌──▶ succeeded
           queued ───────────────▶ running ───────────┼──▶ failed
            │  ▲                   │  │               └──▶ timed_out
            │  └──── requeue ──────┘  │ cancel                 ▲
            │  (its process is lost   ▼                        │ finish, before the
            │     for the first    cancelling ─────────────────┘ worker saw the cancel
     cancel │      time)              │ finish, requeue
            ▼                         ▼
        cancelled ◀───────────────────┘

`attempt` is the fencing token. `start` counts it up, and the process that runs the job sends it
with each change. A process that was given up has an old token, so that its changes are rejected:
the process is *fenced*.

A job that loses two processes becomes `failed` with the problem `worker_lost`. A queued job becomes
`failed` when the model or dataset that it waits for is rejected (`refuse`).
"""

import time
from collections.abc import Sequence
from typing import Literal, Self

import redis

from unitrank_schemas.base import Json
from unitrank_store.errors import RecordNotFound
from unitrank_store.jobs.record import ENDED, JobRecord, Status
from unitrank_store.jobs.records import Kind, RecordChange, RecordState, RecordTable
from unitrank_store.settings import Settings

RESULT_TTL = 24 * 3600
FAILURE_TTL = 7 * 24 * 3600
LOSSES_ALLOWED = 1
"""Maximum number of lost processes after which a job is queued again."""

Written = Literal["written", "cancel", "fenced"]

WORKER_LOST: Json = {
    "code": "worker_lost",
    "title": "The worker was lost",
    "detail": "two worker processes ended while they ran this; it is not run again automatically, send the request again",
    "status": 500,
    "retryable": True,
}


class JobStates:
    """The changes of the records of one kind: `job`, or `inspection`.

    An inspection checks a model; its id is the model's digest without `sha256:`.
    """

    def __init__(
        self,
        connection: redis.Redis,
        *,
        result_ttl: int = RESULT_TTL,
        failure_ttl: int = FAILURE_TTL,
        kind: Kind = "job",
        tenant: str | None = None,
    ) -> None:
        """`result_ttl`, `failure_ttl`: seconds that a result, and a failed job, are kept.

        `tenant`: the tenant whose records `get` returns. None returns those of every tenant, which
        the worker and the reaper need.
        """
        self.kind = kind
        self.tenant = tenant
        self.result_ttl = result_ttl
        self.failure_ttl = failure_ttl
        self._redis = connection
        self._records = RecordTable(connection, kind)

    @classmethod
    def of(cls, connection: redis.Redis, settings: Settings, *, kind: Kind = "job", tenant: str | None = None) -> Self:
        """Return the states with the operator's `result_ttl` and `failure_ttl`."""
        return cls(connection, result_ttl=settings.result_ttl, failure_ttl=settings.failure_ttl, kind=kind, tenant=tenant)

    def get(self, id: str) -> JobRecord:
        """Return the record. Raises RecordNotFound, also for a record of another tenant."""
        records = self.get_many([id])
        if not records or self.tenant not in (None, records[0].tenant):
            raise RecordNotFound(f"{self.kind} {id!r} not found; it may have expired or been deleted")
        return records[0]

    def get_many(self, ids: Sequence[str]) -> list[JobRecord]:
        """Return the records that exist, in the order of `ids`, of every tenant."""
        return self._records.read(ids)

    def state(self, id: str) -> RecordState | None:
        """Return the fields that are cheap to read often; None for a record that does not exist."""
        return self._records.glance([id]).get(id)

    def start(self, id: str, worker: str, number: int | None = None) -> int | None:
        """Change a queued record to running as `begin` does; return the number of its attempt."""
        record = self.begin(id, worker, number)
        return record.attempt if record is not None else None

    def begin(self, id: str, worker: str, number: int | None = None) -> JobRecord | None:
        """Change a queued record to running, and return the running record.

        Returns None if the job may not run: it was cancelled, or another worker runs it.
        `number`: the attempt that the queue's entry belongs to. An entry of an earlier attempt
        starts nothing. None starts the record's next attempt.
        """
        if number is None:
            state = self.state(id)
            if state is None:
                return None
            number = state.attempt + 1
        fields = {"attempt": number, "started_at": time.time(), "worker": worker, "progress": None}
        change = RecordChange(expected=["queued"], attempt=number - 1, status="running", fields=fields)
        return self._records.change_and_read(id, change)

    def progress(self, id: str, attempt: int, progress: Json) -> Written:
        """Write an attempt's progress.

        Returns `cancel` if the attempt should stop, and `fenced` if the job has ended or is at
        another attempt.
        """
        change = RecordChange(expected=["running"], attempt=attempt, fields={"progress": progress}, progress=progress)
        outcome = self._records.change(id, change)
        if outcome.changed:
            return "written"
        return "cancel" if outcome.status == "cancelling" and outcome.attempt == attempt else "fenced"

    def finish(
        self,
        id: str,
        attempt: int,
        status: Status,
        *,
        result: Json | None = None,
        problem: Json | None = None,
        progress: Json | None = None,
        summary: Json | None = None,
    ) -> bool:
        """End the attempt in a status; return False if it is fenced or has already ended.

        A job that is being cancelled may still end in every status: the first `finish` decides.
        `progress`: the last progress; without it the stored progress stays.
        `summary`: the result in short, see `unitrank_schemas.jobs.JobSummary`.
        """
        fields = {"result": result, "problem": problem, "summary": summary} | ({"progress": progress} if progress else {})
        area = summary["area"] if summary else None
        return self._change(id, status, expected=["running", "cancelling"], attempt=attempt, fields=fields, area=area)

    def requeue(self, id: str, attempt: int, *, lost: bool = True) -> JobRecord:
        """Give up an attempt, and return the record.

        A running record becomes queued, or failed after too many lost processes. A cancelling
        record becomes cancelled. A record that is at another attempt does not change.
        `lost`: False for a process that was stopped on purpose, which does not count as a loss.
        """
        record = self.get(id)
        losses = record.losses + lost
        if losses <= LOSSES_ALLOWED:
            fields = {"losses": losses, "worker": None, "started_at": None, "progress": None}
            self._change(id, "queued", expected=["running"], attempt=attempt, fields=fields)
        else:
            self._change(id, "failed", expected=["running"], attempt=attempt, fields={"losses": losses, "problem": WORKER_LOST})
        self._change(id, "cancelled", expected=["cancelling"], attempt=attempt, fields={"losses": losses})
        return self.get(id)

    def cancel(self, id: str) -> JobRecord:
        """Cancel a record, and return it. Raises RecordNotFound.

        A queued record becomes cancelled. A running record becomes cancelling: its worker then ends
        it. An ended record does not change.
        """
        fields = {"cancel_requested": True}
        # A record may start, or be requeued, between the two changes: the next round cancels it.
        while not self.get(id).cancel_requested:
            if self._change(id, "cancelled", expected=["queued"], attempt=None, fields=fields):
                break
            if self._change(id, "cancelling", expected=["running"], attempt=None, fields=fields):
                break
            if self.get(id).ended:
                break
        return self.get(id)

    def refuse(self, content_key: str, problem: Json) -> list[JobRecord]:
        """Fail the queued jobs that wait for a model or a dataset, and return them.

        `problem`: the reason, which becomes the problem of each job.
        """
        return [
            record
            for record in self._records.release(content_key)
            if self._change(record.id, "failed", expected=["queued"], attempt=None, fields={"problem": problem})
        ]

    def _change(
        self,
        id: str,
        status: Status,
        *,
        expected: Sequence[Status],
        attempt: int | None,
        fields: Json,
        area: float | None = None,
    ) -> bool:
        """Change the status, and return whether the record is now in the new status."""
        seconds = None
        if status in ENDED:
            now = time.time()
            ttl = self.result_ttl if status == "succeeded" else self.failure_ttl
            fields = {**fields, "finished_at": now, "expires_at": now + ttl}
            # A record outlives its result: the service can then report an expired result, and
            # not only an unknown id.
            seconds = ttl + self.failure_ttl if status == "succeeded" else ttl
        change = RecordChange(expected=expected, attempt=attempt, status=status, fields=fields, seconds=seconds, area=area)
        outcome = self._records.change(id, change)
        # redis-py repeats a command whose reply was lost. The lost command has made the change.
        repeated = status in ENDED and outcome.status == status and attempt is not None and outcome.attempt == attempt
        return outcome.changed or repeated
