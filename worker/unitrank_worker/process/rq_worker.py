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
from typing import Any, NamedTuple

import redis
import structlog
from rq import Queue, Worker
from rq.job import Job
from rq.serializers import JSONSerializer
from rq.timeouts import HorseMonitorTimeoutException
from rq.utils import now

from unitrank_store.errors import Forged
from unitrank_store.observability.counters import Counters
from unitrank_store.queue.rq_queue import FairQueue
from unitrank_store.queue.safe_job import SafeJob
from unitrank_worker.attempts.stores import AWAY, Stores
from unitrank_worker.process.channel import Closed
from unitrank_worker.process.handle import ChildHandle
from unitrank_worker.process.heartbeat import Heartbeat
from unitrank_worker.process.no_alarm import NoAlarm
from unitrank_worker.process.run import Run
from unitrank_worker.process.settlement import Settlement
from unitrank_worker.process.watch import KillReason

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
        child: ChildHandle,
        heartbeats: Heartbeat,
        settlement: Settlement,
        seconds: Seconds,
        counters: Counters,
        drain: float = math.inf,
    ) -> None:
        """`rq_name` is one that no other process ever had; `stores.jobs` reads records without waiting for the store.

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
        self.child = child
        self.heartbeats = heartbeats
        self._settlement = settlement
        self._counters = counters
        self._drain = drain
        self._stop_at = math.inf
        self._lost_after = math.ceil(seconds.heartbeat + seconds.grace)
        self._run: Run | None = None

    def fork_work_horse(self, job: Job, queue: Queue) -> None:
        """Hand the job to the child, which is there already unless it has just died."""
        assert isinstance(job, SafeJob)
        self._run = Run(
            job,
            worker=self._called,
            stores=self._stores,
            child=self.child,
            patiently=self._patiently,
        )
        self.child.start()
        self._horse_pid = self.child.pid
        job.started_at = now()
        if self._run.is_ours:
            # Most jobs have ended before the register hears of them. Files may take long to open, and no look happens meanwhile.
            self.heartbeats.working_on(job.record_id, self.child.models, at_once=False)
            self.prepare_job_execution(job, remove_from_intermediate_queue=True)

    def wait_for_horse(self) -> tuple[int | None, int | None, Any]:
        """The child's process and 0 when it has done the job, its status as of waitpid(2) when it died.

        Raises HorseMonitorTimeoutException after each interval, as RQ's alarm would, for its heartbeats.
        """
        run = self._run
        assert run is not None
        until = time.monotonic() + self.job_monitoring_interval
        while time.monotonic() < until:
            try:
                if run.advance(POLL_SECONDS):
                    return self._closed(run)
                reason = "stopped" if time.monotonic() >= self._stop_at else self._look(run)
            except Closed:
                # After a second SIGTERM RQ kills the child itself.
                reason = "stopped" if self._stop_requested else "lost"
            except AWAY:
                # raised by `_patiently` alone, when the worker has to stop
                reason = "stopped"
            except Exception:
                # The attempt is given up, and not the worker: its record, or its child's answer, is not as it should be.
                log.exception("attempt failed", worker=self._called, rq_job=run.job.id)
                reason = "lost"
            if reason is not None:
                return self._bury(run, reason)
        raise HorseMonitorTimeoutException

    def kill_horse(self, *arguments: Any) -> None:
        """RQ's, at a second signal to stop: from now on nothing waits for the store. Any: as RQ's arguments."""
        self._stop_at = -math.inf
        super().kill_horse(*arguments)

    def check_for_suspension(self, burst: bool) -> None:
        """Nothing: a key in the store stops no worker."""

    def subscribe(self) -> None:
        """Nothing: a message that arrives through the store stops neither a worker nor its child."""

    def handle_warm_shutdown_request(self) -> None:
        """RQ's, at a first signal to stop: the job may go on for `drain` seconds."""
        super().handle_warm_shutdown_request()  # type: ignore[no-untyped-call]  # RQ's
        self._stop_at = time.monotonic() + self._drain

    def set_shutdown_requested_date(self) -> None:
        """Nothing: no process reads this date, and writing it fails while the store is away."""

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
            self.heartbeats.stop()
            super().teardown()  # type: ignore[no-untyped-call]  # RQ's
        except redis.exceptions.RedisError as error:
            log.warning("left unnoticed", worker=self._called, error=str(error))

    def _patiently(self, step: Callable[[], Any]) -> Any:
        """Repeat the step until the store answers, so that no computed result is lost.

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

    def _waiting(self, step: Callable[[], Any]) -> Any:
        """Do the step as `_patiently`, but once only after a signal to stop. Any: as `_patiently`."""
        return step() if self._stop_requested else self._patiently(step)

    def _look(self, run: Run) -> KillReason | None:
        """Why the child has to be killed; most jobs end before the first look, and are never in the register."""
        reason = run.look()
        if run.watch is not None:
            self.heartbeats.working_on(run.watch.id, self.child.models)
        return reason

    def _closed(self, run: Run) -> tuple[int, int, None]:
        """The attempt has ended: RQ's own records of it go, and the child waits for the next."""
        pid = self.child.pid
        run.job.ended_at = now()
        self._close_entry(run)
        if run.spoiled:
            log.warning("child leaves", worker=self._called, pid=pid)
            self._counters.child_ended("spoiled")
            self.child.end()
            self.child.start()
        self._forget(run)
        return pid, 0, None

    def _close_entry(self, run: Run) -> None:
        """RQ's own records of the run go. The job's record has ended: an error in RQ's is no reason to stop."""
        (queue,) = self.queues
        job, registry = run.job, queue.started_job_registry
        try:
            if not run.is_ours:
                self.connection.lrem(queue.intermediate_queue_key, 1, job.id)
                raise Forged("the queue holds what no `push` wrote")
            self.handle_job_success(job, queue, registry)
        except Exception as error:
            log.warning("not closed", worker=self._called, rq_job=job.id, error=repr(error))
            try:
                self.handle_job_failure(job, queue, registry, str(error))
            except Exception as second:
                log.warning("left to the reaper", worker=self._called, rq_job=job.id, error=repr(second))

    def _forget(self, run: Run) -> None:
        run.close()
        self._run = None
        self.heartbeats.working_on(None, self.child.models)

    def _bury(self, run: Run, reason: KillReason) -> tuple[int, int, None]:
        """The child is dead, or has to be: end it, put the record right, and have a new one for the next job."""
        pid, was_ready = self.child.pid, self.child.ready
        status = self.child.end() or 1
        log.warning("child ended", worker=self._called, pid=pid, status=status, because=reason, rq_job=run.job.id)
        self._counters.child_ended(reason)
        watch = self._waiting(run.watched)
        self._forget(run)
        if run.attempt is None:
            self._waiting(lambda: self._settlement.put_back(watch))
        if not was_ready:
            raise SystemExit("the child ends before it can take a job")
        self._waiting(lambda: self._settlement.settle(watch, reason))
        if reason != "lost":
            # RQ then reports a stopped job and not a crash.
            self._stopped_job_id = self.execution.job_id if self.execution is not None else None
        if not self._stop_requested:
            self.child.start()
        return pid, status, None
