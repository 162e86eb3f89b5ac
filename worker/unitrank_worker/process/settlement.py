"""Ends or requeues the record of a job whose child was killed or has crashed."""

from collections.abc import Callable

import redis
import structlog

from unitrank_schemas.base import Json
from unitrank_store.jobs.job_store import JobStore
from unitrank_store.jobs.record import JobRecord
from unitrank_store.observability.counters import Counters
from unitrank_store.observability.logs import bound
from unitrank_store.queue.rq_queue import push
from unitrank_worker.problem import problem
from unitrank_worker.process.watch import KillReason, RunWatch

log = structlog.get_logger()


class Settlement:
    """Ends or requeues the records of jobs whose child has ended.

    `reject`: called with the digest and the problem of a model whose inspection failed.
    """

    def __init__(self, connection: redis.Redis, reject: Callable[[str, Json], None]) -> None:
        self._redis = connection
        self._reject = reject
        self._counters = Counters(connection)
        self._by_reason: dict[KillReason, Callable[[JobStore, str, int], object]] = {
            "cancelled": lambda jobs, id, attempt: jobs.finish(id, attempt, "cancelled"),
            "timed_out": self._time_out,
            "too_slow": self._stop_slow,
            "lost": lambda jobs, id, attempt: jobs.requeue(id, attempt),
            "stopped": lambda jobs, id, attempt: jobs.requeue(id, attempt, lost=False),
            "given_up": lambda jobs, id, attempt: None,
        }

    def settle(self, watch: RunWatch, reason: KillReason) -> None:
        """End the record or put it back into the queue, unless another process has changed it."""
        jobs = watch.jobs
        if not jobs.get_many([watch.id]):
            return
        self._by_reason[reason](jobs, watch.id, watch.attempt)
        if reason == "lost":
            self._counters.lost(jobs.kind)
        # A record whose child crashed had its turn: its next turn comes after the waiting records
        # of its owner, and after a turn of each other owner.
        self._push_or_reject(jobs, jobs.get(watch.id), watch.attempt, front=reason != "lost")

    def put_back(self, watch: RunWatch) -> None:
        """Return a job to the head of the queue, because the child could not take it."""
        for record in watch.jobs.get_many([watch.id]):
            if record.status == "queued":
                push(self._redis, watch.jobs, record, front=True)

    def _push_or_reject(self, jobs: JobStore, record: JobRecord, attempt: int, *, front: bool) -> None:
        log.warning("record settled", attempt=attempt, status=record.status, **bound(jobs.kind, record))
        if record.attempt != attempt:
            return
        if record.status == "queued":
            push(self._redis, jobs, record, front=front)
        if jobs.kind == "inspection" and record.problem is not None:
            self._reject(str(record.request["digest"]), record.problem)

    def _time_out(self, jobs: JobStore, id: str, attempt: int) -> None:
        seconds = jobs.get(id).timeout
        detail = f"not finished within the allowed {seconds:g} s; a job can be submitted again with a larger `timeout`"
        jobs.finish(id, attempt, "timed_out", problem=problem("timed_out", detail, status=504))

    def _stop_slow(self, jobs: JobStore, id: str, attempt: int) -> None:
        seconds = jobs.get(id).cpu_seconds
        detail = (
            f"the inspection took more than {seconds:g} s of CPU time, the limit for an upload of this size; "
            "export the model with fewer operators or smaller inputs, or ask the operator to raise UNITRANK_INSPECTION_CPU"
        )
        jobs.finish(id, attempt, "timed_out", problem=problem("inspection_too_slow", detail))
