"""The states of a job's record: every change is a compare-and-set, and a late change is refused.

            create                 start                   finish
              │                      │                       │
              ▼                      ▼                ┌──▶ succeeded
           queued ───────────────▶ running ───────────┼──▶ failed
            │  ▲                   │  │               └──▶ timed_out
            │  └──── requeue ──────┘  │ cancel                 ▲
            │  (its process is lost   ▼                        │ finish: done before the cancel was seen
            │     for the first    cancelling ─────────────────┘
     cancel │      time)              │ finish, requeue
            ▼                         ▼
        cancelled ◀───────────────────┘

`start` counts `attempt` up, and the process that runs the job shows that number with each change: a process that was
given up and comes back is *fenced*. A job that loses two processes is `failed` with `worker_lost` and is not run a third
time. A queued job fails without a run where the model or dataset that it waits for is rejected (`refuse`).
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

Written = Literal["written", "cancel", "fenced"]

WORKER_LOST: Json = {
    "code": "worker_lost",
    "title": "The worker was lost",
    "detail": "two processes in a row ended while they ran this; it is not tried again",
    "status": 500,
    "retryable": True,
}


class JobStates:
    """The changes of records of one kind: `job`, or `inspection` (of a model, with the digest's hex as id)."""

    def __init__(
        self,
        connection: redis.Redis,
        *,
        result_ttl: int = RESULT_TTL,
        failure_ttl: int = FAILURE_TTL,
        kind: Kind = "job",
        tenant: str | None = None,
    ) -> None:
        """`result_ttl`, `failure_ttl`: seconds that a result, and a failure, is kept.

        `tenant`: whose records are read; None: every tenant's, for the processes that work on them.
        """
        self.kind = kind
        self.tenant = tenant
        self.result_ttl = result_ttl
        self.failure_ttl = failure_ttl
        self._redis = connection
        self._records = RecordTable(connection, kind)

    @classmethod
    def of(cls, connection: redis.Redis, settings: Settings, *, kind: Kind = "job", tenant: str | None = None) -> Self:
        """Results and failures are kept as long as the operator has set."""
        return cls(connection, result_ttl=settings.result_ttl, failure_ttl=settings.failure_ttl, kind=kind, tenant=tenant)

    def get(self, id: str) -> JobRecord:
        """Raises RecordNotFound."""
        records = self.get_many([id])
        if not records or self.tenant not in (None, records[0].tenant):
            raise RecordNotFound(f"no {self.kind} {id!r}")
        return records[0]

    def get_many(self, ids: Sequence[str]) -> list[JobRecord]:
        """The records that exist, in the order of the ids."""
        return self._records.read(ids)

    def state(self, id: str) -> RecordState | None:
        """The part of a record that a process can read often; None where the record is gone."""
        return self._records.glance([id]).get(id)

    def start(self, id: str, worker: str, number: int | None = None) -> int | None:
        """The number of the attempt that begins now; None where the job may not run (cancelled, begun elsewhere).

        `number`: the attempt that the queue's entry was made for; the entry of a lost attempt does not run.
        """
        try:
            record = self.get(id)
        except RecordNotFound:
            return None
        if number not in (None, record.attempt + 1):
            return None
        fields = {"attempt": record.attempt + 1, "started_at": time.time(), "worker": worker, "progress": None}
        started = self._change(id, "running", expected=["queued"], attempt=record.attempt, fields=fields)
        return record.attempt + 1 if started else None

    def progress(self, id: str, attempt: int, progress: Json) -> Written:
        """Note how far the attempt is: `cancel` where it should stop, `fenced` where it is no longer its job."""
        change = RecordChange(expected=["running"], attempt=attempt, fields={"progress": progress}, progress=progress)
        outcome = self._records.change(id, change)
        if outcome.made:
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
    ) -> bool:
        """End the attempt; False where it was fenced or had ended. A cancelled job may end in any way: the first wins.

        `progress` is the last there was; without it the stored progress stays.
        """
        fields = {"result": result, "problem": problem} | ({"progress": progress} if progress else {})
        return self._change(id, status, expected=["running", "cancelling"], attempt=attempt, fields=fields)

    def requeue(self, id: str, attempt: int, *, lost: bool = True) -> JobRecord:
        """Give up an attempt; the record then is queued, failed or cancelled, or was at another attempt.

        Not `lost`: its process was stopped on purpose, which does not count against the job.
        """
        record = self.get(id)
        losses = record.losses + lost
        if losses <= LOSSES_ALLOWED:
            again = {"losses": losses, "worker": None, "started_at": None, "progress": None}
            self._change(id, "queued", expected=["running"], attempt=attempt, fields=again)
        else:
            self._change(id, "failed", expected=["running"], attempt=attempt, fields={"losses": losses, "problem": WORKER_LOST})
        self._change(id, "cancelled", expected=["cancelling"], attempt=attempt, fields={"losses": losses})
        return self.get(id)

    def cancel(self, id: str) -> JobRecord:
        """Queued: cancelled at once. Running: cancelling, its worker then ends it. Ended: nothing. Raises RecordNotFound."""
        fields = {"cancel_requested": True}
        # A job that begins, or is put back, between the two is met in the next round.
        while not self.get(id).cancel_requested:
            if self._change(id, "cancelled", expected=["queued"], attempt=None, fields=fields):
                break
            if self._change(id, "cancelling", expected=["running"], attempt=None, fields=fields):
                break
            if self.get(id).ended:
                break
        return self.get(id)

    def refuse(self, what: str, problem: Json) -> list[JobRecord]:
        """Fail the queued jobs that waited for this model or dataset."""
        return [
            record
            for record in self._records.release(what)
            if self._change(record.id, "failed", expected=["queued"], attempt=None, fields={"problem": problem})
        ]

    def _change(self, id: str, status: Status, *, expected: Sequence[Status], attempt: int | None, fields: Json) -> bool:
        """Whether the record now is in the status: the change was made, or an earlier sending of the command made it."""
        seconds = None
        if status in ENDED:
            now = time.time()
            kept = self.result_ttl if status == "succeeded" else self.failure_ttl
            fields = {**fields, "finished_at": now, "expires_at": now + kept}
            # A record outlives its result, so that its absence can be told from an id that never was.
            seconds = kept + self.failure_ttl if status == "succeeded" else kept
        change = RecordChange(expected=expected, attempt=attempt, status=status, fields=fields, seconds=seconds)
        outcome = self._records.change(id, change)
        # The command is sent again when its reply was lost: then the first one has made the change.
        repeated = status in ENDED and outcome.status == status and attempt is not None and outcome.attempt == attempt
        return outcome.made or repeated
