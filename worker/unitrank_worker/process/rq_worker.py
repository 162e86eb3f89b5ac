"""RQ's worker with one long-lived child instead of a fork for each job.

    queue ──▶ WarmWorker ── order, open files ──▶ child: the engine
    store ◀──  (no torch) ◀── progress, result ──  (no store)
                  │
                  └─ every 0.15 s: has the record been cancelled, is its time over, is the child alive?

Forking after torch has run hangs, and with CUDA it is an error; a process for each job loads every model again. Here
models stay warm, a crash or a hang in native code costs the child only, and a killed child gives all its memory back.
Popping, registries and the drain at SIGTERM remain RQ's. What RQ does at the word of anyone who can write to the store is
left out: its suspension, and its commands over a channel (shutdown, kill-horse, stop-job).
"""

import math
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, NamedTuple

import redis
import structlog
from rq import Queue, Worker
from rq.job import Job
from rq.serializers import JSONSerializer
from rq.timeouts import HorseMonitorTimeoutException
from rq.utils import now

from unitrank_schemas.base import Json
from unitrank_store.errors import Forged
from unitrank_store.jobs.job_store import JobStore
from unitrank_store.jobs.record import Status
from unitrank_store.observability import tracing
from unitrank_store.observability.counters import Counters
from unitrank_store.observability.logs import bound
from unitrank_store.queue.rq_queue import FairQueue
from unitrank_store.queue.safe_job import SafeJob
from unitrank_worker.process.channel import Closed, Message
from unitrank_worker.process.handle import ChildHandle
from unitrank_worker.process.heartbeat import Heartbeat
from unitrank_worker.process.no_alarm import NoAlarm
from unitrank_worker.process.settlement import Settlement
from unitrank_worker.process.watch import KillReason, RunWatch
from unitrank_worker.tasks import AWAY, Attempt, Order, Stores, attempt_at, problem_of, start

log = structlog.get_logger()

POLL_SECONDS = 0.15
"""Between two looks at the record of a running job."""
RETRY_SECONDS = 0.25
"""Between two tries to write the end of a job while the store is away."""


class Seconds(NamedTuple):
    """How often a worker says that it is alive, and how much longer it may be silent."""

    heartbeat: float
    grace: float


class WarmWorker(Worker):
    """Listens on one queue: popping from several loses jobs (rq#2079)."""

    death_penalty_class = NoAlarm
    queue_class = FairQueue
    log_job_description = False

    def __init__(
        self,
        queue: Queue,
        *,
        name: str,
        rq_name: str,
        stores: Stores,
        glances: JobStore,
        child: ChildHandle,
        heartbeat: Heartbeat,
        settlement: Settlement,
        seconds: Seconds,
        counters: Counters,
        drain: float = math.inf,
    ) -> None:
        """`rq_name` is one that no other process ever had; `glances` reads records without waiting for the store.
        `drain`: seconds that a job may go on after the signal to stop, before it is put back.
        """
        super().__init__(
            [queue],
            name=rq_name,
            connection=queue.connection,
            job_class=SafeJob,
            serializer=JSONSerializer,
            job_monitoring_interval=max(1, int(seconds.heartbeat)),
        )
        self._called = name
        self._stores = stores
        self._glances = glances
        self.child = child
        self.pulse = heartbeat
        self._settlement = settlement
        self._counters = counters
        self._drain = drain
        self._stop_at = math.inf
        self._lost_after = math.ceil(seconds.heartbeat + seconds.grace)
        self._job: SafeJob | None = None
        self._attempt: Attempt | None = None
        self._context = ExitStack()
        self._watch: RunWatch | None = None
        self._next_look = 0.0
        self._told_to_stop = False

    def fork_work_horse(self, job: Job, queue: Queue) -> None:
        """Hand the job to the child, which is there already unless it has just died."""
        assert isinstance(job, SafeJob)
        self._job = job
        self._next_look = time.monotonic() + POLL_SECONDS
        self.child.start()
        self._horse_pid = self.child.pid
        job.started_at = now()
        if _is_ours(job):
            self.prepare_job_execution(job, remove_from_intermediate_queue=True)

    def wait_for_horse(self) -> tuple[int | None, int | None, Any]:
        """The child's process and 0 when it has done the job, its status as of waitpid(2) when it died.

        Raises HorseMonitorTimeoutException after each interval, as RQ's alarm would, for its heartbeats.
        """
        until = time.monotonic() + self.job_monitoring_interval
        while time.monotonic() < until:
            try:
                if self._attempt is None and self.child.ready:
                    if not self._begun():
                        return self._closed()
                    continue
                message = self.child.receive(POLL_SECONDS)
                if message is not None and self._attempt is not None and self._taken(self._attempt, message):
                    return self._closed(leaving=bool(message.content.get("leaving")))
            except Closed:
                # After a second SIGTERM RQ kills the child itself.
                return self._bury("stopped" if self._stop_requested else "lost")
            except AWAY:
                # raised by `_patiently` alone, when the worker has to stop
                return self._bury("stopped")
            reason: KillReason | None = "stopped" if time.monotonic() >= self._stop_at else self._look()
            if reason is not None:
                return self._bury(reason)
        raise HorseMonitorTimeoutException

    def check_for_suspension(self, burst: bool) -> None:
        """Nothing: a key in the store stops no worker."""

    def subscribe(self) -> None:
        """Nothing: a message in the store ends neither a worker nor its child."""

    def handle_warm_shutdown_request(self) -> None:
        """Told to stop: from now on the job has so much time."""
        super().handle_warm_shutdown_request()  # type: ignore[no-untyped-call]  # RQ's
        self._stop_at = time.monotonic() + self._drain

    def set_shutdown_requested_date(self) -> None:
        """Nothing: nobody asks for it, and a store that is away must not turn a stop into a loss."""

    def get_heartbeat_ttl(self, job: Job) -> int:
        """Seconds after which RQ gives up an execution; its own choice is a minute more."""
        return self._lost_after

    def maintain_heartbeats(self, job: Job) -> None:
        """RQ's; a store that is away is no reason to leave the job alone."""
        try:
            super().maintain_heartbeats(job)
        except redis.exceptions.RedisError as error:
            log.warning("heartbeat lost", worker=self._called, error=str(error))

    def set_current_job_working_time(self, current_job_working_time: float, pipeline: Any = None) -> None:
        """RQ's; a store that is away is no reason to leave the job alone."""
        try:
            super().set_current_job_working_time(current_job_working_time, pipeline)
        except redis.exceptions.RedisError as error:
            log.warning("working time lost", worker=self._called, error=str(error))

    def run_maintenance_tasks(self) -> None:
        """RQ's; what somebody else wrote into its registries stops no worker."""
        try:
            super().run_maintenance_tasks()  # type: ignore[no-untyped-call]  # RQ's
        except (redis.exceptions.ConnectionError, redis.exceptions.TimeoutError):
            raise
        except Exception:
            log.exception("maintenance failed", worker=self._called)

    def teardown(self) -> None:
        """End the child and leave both registers."""
        self.child.end()
        try:
            self.pulse.stop()
            super().teardown()  # type: ignore[no-untyped-call]  # RQ's
        except redis.exceptions.RedisError as error:
            log.warning("left unnoticed", worker=self._called, error=str(error))

    def _begun(self) -> bool:
        """Begin the attempt and send the child its order; False where there is nothing to wait for.

        Raises Closed.
        """
        job, stores = self._job, self._stores
        assert job is not None
        if not _is_ours(job):
            return False
        id, number = job.record_id, job.attempt
        record = self._patiently(lambda: start(stores, id, self._called, number))
        if record is None:
            return False
        kind = stores.jobs.kind
        about = bound(kind, record)
        self._context.enter_context(structlog.contextvars.bound_contextvars(attempt=record.attempt, **about))
        self._context.enter_context(tracing.job_span(kind, record, **about))
        attempt = self._attempt = attempt_at(stores, record)
        try:
            order: Order = self._patiently(lambda: attempt.order(self.child.warm))
        except AWAY:
            raise
        except Exception as error:
            attempt.finish("failed", problem_of(error), self._patiently)
            return False
        self.child.send(order.content, files=order.files)
        return True

    def _taken(self, attempt: Attempt, message: Message) -> bool:
        """Do as the child's message says; whether it was the last of the attempt.

        Raises Closed, also for a message that no child of ours sends: what a model may have taken over is not listened to.
        """
        if "end" in message.content:
            status, problem = _ending(message)
            attempt.finish(status, problem, self._patiently)
            return True
        try:
            answer = attempt.take(message)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise Closed("the child sent a malformed message") from error
        if answer is not None:
            self.child.send(answer.content, answer.payload)
        if attempt.unwanted:
            self._tell_to_stop()
        return False

    def _tell_to_stop(self) -> None:
        """Once: the child ends the job where it reports next, and keeps its models."""
        if not self._told_to_stop:
            self._told_to_stop = True
            self.child.send({"stop": True})

    def _patiently(self, step: Callable[[], Any]) -> Any:
        """Repeat the step while the store is away: what was computed is worth more than any outage lasts.

        Any: what the step returns. Raises the store's error when the worker has to stop.
        """
        while True:
            try:
                return step()
            except AWAY as error:
                if time.monotonic() >= self._stop_at:
                    raise
                log.warning("the store is away", error=str(error))
                time.sleep(RETRY_SECONDS)

    def _look(self) -> KillReason | None:
        """Why the child has to be killed, as the record says; most jobs end before the first look."""
        if time.monotonic() < self._next_look or self._job is None:
            return None
        self._next_look = time.monotonic() + POLL_SECONDS
        if self._watch is None:
            try:
                self._watch = self._watch_of(self._job)
            except redis.exceptions.RedisError as error:
                log.warning("not looked at", worker=self._called, rq_job=self._job.id, error=str(error))
                return None
            self.pulse.working_on(self._watch.id, self.child.models)
        reason = self._watch.reason()
        if self._watch.unwanted and self._attempt is not None:
            self._tell_to_stop()
        return reason

    def _watch_of(self, job: SafeJob) -> RunWatch:
        # What was forged has no record to look at.
        id, attempt = (job.record_id, job.attempt) if _is_ours(job) else (job.id, 0)
        return RunWatch(self._stores.jobs, self._glances, id, attempt, self._called)

    def _closed(self, *, leaving: bool = False) -> tuple[int, int, None]:
        """The attempt has ended: RQ's own records of it go, and the child waits for the next."""
        pid, job = self.child.pid, self._job
        assert job is not None
        job.ended_at = now()
        self._close_entry(job)
        if leaving:
            log.warning("child leaves", worker=self._called, pid=pid)
            self._counters.child_ended("spoiled")
            self.child.end()
            self.child.start()
        self._forget()
        return pid, 0, None

    def _close_entry(self, job: SafeJob) -> None:
        """RQ's own records of the run go. The job's record has ended: whatever is wrong there is no reason to stop."""
        (queue,) = self.queues
        registry = queue.started_job_registry
        try:
            if not _is_ours(job):
                self.connection.lrem(queue.intermediate_queue_key, 1, job.id)
                raise Forged("the queue holds what no `push` wrote")
            self.handle_job_success(job, queue, registry)
        except Exception as error:
            log.warning("not closed", worker=self._called, rq_job=job.id, error=repr(error))
            try:
                self.handle_job_failure(job, queue, registry, str(error))
            except Exception as second:
                log.warning("left to the reaper", worker=self._called, rq_job=job.id, error=repr(second))

    def _forget(self) -> None:
        """Nothing is left of the attempt in this process."""
        if self._attempt is not None:
            self._attempt.abandon()
        self._context.close()
        self._job = self._attempt = self._watch = None
        self._told_to_stop = False
        self.pulse.working_on(None, self.child.models)

    def _bury(self, reason: KillReason) -> tuple[int, int, None]:
        """The child is dead, or has to be: end it, put the record right, and have a new one for the next job."""
        pid, begun = self.child.pid, self._attempt is not None
        status = self.child.end() or 1
        job = self._job
        log.warning("child ended", worker=self._called, pid=pid, status=status, because=reason, rq_job=job and job.id)
        self._counters.child_ended(reason)
        watch = self._watch or (self._watch_of(job) if job is not None else None)
        self._forget()
        if watch is not None and not begun:
            self._settlement.put_back(watch)
            raise SystemExit("the child ends before it can take a job")
        if watch is not None:
            self._settlement.settle(watch, reason)
            if reason != "lost":
                # RQ then reports a stopped job and not a crash.
                self._stopped_job_id = self.execution.job_id if self.execution is not None else None
        if not self._stop_requested:
            self.child.start()
        return pid, status, None


def _ending(message: Message) -> tuple[Status, Json | None]:
    """The status and the problem that a child ends its attempt with. Raises Closed."""
    status, problem = message.content["end"], message.content.get("problem")
    if status not in ("succeeded", "failed", "cancelled") or not isinstance(problem, dict | None):
        raise Closed("the child sent a malformed end")
    return status, problem


def _is_ours(job: SafeJob) -> bool:
    """Whether the entry of the queue names one of our functions and a record."""
    try:
        return bool(job.record_id) and job.attempt > 0
    except Forged as error:
        log.warning("forged", rq_job=job.id, error=str(error))
        return False
