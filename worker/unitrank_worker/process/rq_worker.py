"""RQ's worker with long-lived children instead of a fork for each job.

    queue ──▶ WarmWorker ── order, open files ──▶ a tenant's child: the engine
    store ◀──  (no torch) ◀── progress, result ──  (no store)
                  │
                  └─ every 0.15 s: was the record cancelled, is its time over, is the child alive?

Forking hangs after torch has run, and is an error with CUDA. A new process for each job would load
every model again. With one child, models stay in memory. A crash or a hang in native code ends only
the child, and a killed child frees all its memory.

RQ pops jobs, keeps registries and drains at SIGTERM.
"""

import math
import time
from typing import Any, NamedTuple

import redis
import structlog
from rq import Queue
from rq.job import Job
from rq.serializers import JSONSerializer
from rq.timeouts import HorseMonitorTimeoutException
from rq.utils import now

from unitrank_store.errors import Forged
from unitrank_store.full import wait_reason
from unitrank_store.observability.counters import Counters
from unitrank_store.queue.fair_queue import FairQueue
from unitrank_store.queue.safe_job import SafeJob
from unitrank_worker.attempts.stores import Stores
from unitrank_worker.children.pool import ChildPool
from unitrank_worker.distributed.cluster import DriverProcess
from unitrank_worker.process.channel import Closed
from unitrank_worker.process.heartbeat import Heartbeat
from unitrank_worker.process.patient_worker import PatientWorker
from unitrank_worker.process.run import Run
from unitrank_worker.process.settlement import Settlement
from unitrank_worker.process.watch import KillReason

log = structlog.get_logger()

POLL_SECONDS = 0.15
"""Maximum seconds that the worker waits for an event before it looks at the record again."""


class Seconds(NamedTuple):
    """`heartbeat`: seconds between two heartbeats.

    `grace`: seconds that a heartbeat may be late.
    """

    heartbeat: float
    grace: float


class WarmWorker(PatientWorker):
    """Takes jobs from one queue, and hands each one to the long-lived child of its tenant.

    It has only one queue, because popping from several queues loses jobs (rq#2079).
    """

    queue_class = FairQueue
    log_job_description = False

    def __init__(
        self,
        queue: Queue,
        *,
        name: str,
        rq_name: str,
        stores: Stores,
        children: ChildPool,
        heartbeats: Heartbeat,
        settlement: Settlement,
        seconds: Seconds,
        counters: Counters,
        driver: DriverProcess | None = None,
        drain: float = math.inf,
    ) -> None:
        """`name`: name in the API. `rq_name`: name in RQ, which no process had before.

        `stores.jobs` must read over a connection that does not wait for the store. `drain`: seconds
        that a job may go on after the signal to stop, before it returns to the queue. `driver`:
        divides jobs between the nodes of a Ray cluster; None without one.
        """
        super().__init__(
            [queue],
            name=rq_name,
            connection=queue.connection,
            job_class=SafeJob,
            serializer=JSONSerializer,
            job_monitoring_interval=max(1, int(seconds.heartbeat)),
        )
        self._worker_name = name
        self.stores = stores
        self.children = children
        self.heartbeats = heartbeats
        self._settlement = settlement
        self._counters = counters
        self._driver = driver
        self._drain = drain
        self._lost_after = math.ceil(seconds.heartbeat + seconds.grace)
        self._run: Run | None = None

    @property
    def horse_pid(self) -> int:
        """The process id of the child that runs the job; 0 without one. RQ kills this process."""
        return self._run.child.pid if self._run is not None and self._run.child is not None else 0

    def fork_work_horse(self, job: Job, queue: Queue) -> None:
        """Begin the job's run. `wait_for_horse` hands the job to a child."""
        assert isinstance(job, SafeJob)
        self.execution = None
        self._run = Run(
            job,
            worker=self._worker_name,
            stores=self.stores,
            children=self.children,
            retry=self._retry,
            driver=self._driver,
        )
        job.started_at = now()
        if self._run.is_genuine:
            # Not at once: most jobs end before the registry needs their ids. The heartbeat's thread
            # sends the change, also while files take long to open.
            self.heartbeats.working_on(job.record_id, self.children.models(), at_once=False)

    def wait_for_horse(self) -> tuple[int | None, int | None, Any]:
        """Wait for the end of the job; return the child's process id, a status and None.

        The status is 0 after a job that ended. If the child ended, it is the child's status as
        waitpid(2) returns it.
        Raises HorseMonitorTimeoutException after each interval, so that RQ sends its heartbeats.
        """
        run = self._run
        assert run is not None
        until = time.monotonic() + self.job_monitoring_interval
        while time.monotonic() < until:
            try:
                if run.advance(POLL_SECONDS):
                    return self._end_run(run)
                # Not before the child has its order: it then computes while this is written.
                if run.child_works or run.looks_due:
                    self._begin(run)
                reason = "stopped" if time.monotonic() >= self._stop_at else self._look(run)
            except Closed:
                # After a second SIGTERM RQ kills the child itself. A job that waits for nodes has
                # not begun, so the end of its child is not a loss.
                reason = "stopped" if self._stop_requested or run.waits_for_nodes else "lost"
            except Exception as error:
                # `_retry` raises the error of a store that cannot serve only if the worker must
                # stop. After another error the record or the child's message is malformed: only the
                # attempt ends, not the worker.
                reason = "stopped" if wait_reason(error) else "lost"
                if reason == "lost":
                    log.exception("attempt failed", worker=self._worker_name, rq_job=run.job.id)
            if reason == "given_up" and run.attempt is None:
                # The child has no order of this run, and may still be starting.
                return self._end_run(run)
            if reason is not None:
                return self._end_child(run, reason)
        raise HorseMonitorTimeoutException

    def kill_horse(self, *arguments: Any) -> None:
        """RQ calls this at a second signal to stop: from now on, no step waits for the store.

        Any: as in RQ.
        """
        self._stop_at = -math.inf
        super().kill_horse(*arguments)

    def handle_warm_shutdown_request(self) -> None:
        """RQ calls this at a first signal to stop: the job may go on for `drain` seconds."""
        super().handle_warm_shutdown_request()  # type: ignore[no-untyped-call]  # RQ's
        self._stop_at = time.monotonic() + self._drain

    def get_heartbeat_ttl(self, job: Job) -> int:
        """Seconds after which RQ gives up an execution. RQ's own value is a minute longer."""
        return self._lost_after

    def teardown(self) -> None:
        """End the children, and remove the worker from Unitrank's registry and from RQ's."""
        self.children.end()
        if self._driver is not None:
            self._driver.end()
        try:
            self.heartbeats.stop()
            super().teardown()  # type: ignore[no-untyped-call]  # RQ's
        except redis.exceptions.RedisError as error:
            log.warning("worker not unregistered", worker=self._worker_name, error=str(error))

    def _begin(self, run: Run) -> None:
        """Write the start of the run into RQ's registries, once."""
        if self.execution is None:
            self.begin_execution(run.job, genuine=run.is_genuine)

    def _look(self, run: Run) -> KillReason | None:
        """Why the child must be killed; None if it may go on.

        Most jobs end before the first look, and never enter the registry.
        """
        reason = run.look()
        if run.watch is not None:
            self.heartbeats.working_on(run.watch.id, self.children.models())
        return reason

    def _end_run(self, run: Run) -> tuple[int, int, None]:
        """Remove RQ's records of an attempt that has ended.

        A child whose device failed, or that has grown too large, ends here.
        """
        pid = self.horse_pid
        self._begin(run)
        run.job.ended_at = now()
        self._close_entry(run)
        if run.spoiled and run.child is not None:
            log.warning("child ended", worker=self._worker_name, pid=pid, because="its device failed")
            self._counters.child_ended("spoiled")
            self.children.remove(run.child)
        self.children.shrink()
        self._forget(run)
        return pid, 0, None

    def _close_entry(self, run: Run) -> None:
        """Remove RQ's records of the run.

        Errors are only logged, because the job's record has ended.
        """
        (queue,) = self.queues
        job, registry = run.job, queue.started_job_registry
        try:
            if not run.is_genuine:
                self.connection.lrem(queue.intermediate_queue_key, 1, job.id)
                raise Forged("the queue holds an entry that Unitrank did not write")
            self.end_execution(job)
        except Exception as error:
            log.warning("RQ entry not closed", worker=self._worker_name, rq_job=job.id, error=repr(error))
            try:
                self.handle_job_failure(job, queue, registry, str(error))
            except Exception as second:
                log.warning("RQ entry left to the reaper", worker=self._worker_name, rq_job=job.id, error=repr(second))

    def _forget(self, run: Run) -> None:
        run.close()
        self._run = None
        self.heartbeats.working_on(None, self.children.models())

    def _end_child(self, run: Run, reason: KillReason) -> tuple[int, int, None]:
        """Kill the child if it is alive, and end or requeue the record.

        The tenant's next job gets the spare.
        """
        self._begin(run)
        pid, child = self.horse_pid, run.child
        is_cold = child is not None and not child.ready
        status = (0 if child is None else self.children.remove(child)) or 1
        log.warning("child ended", worker=self._worker_name, pid=pid, status=status, because=reason, rq_job=run.job.id)
        self._counters.child_ended(reason)
        watch = self._retry_until_stopped(run.watched)
        self._forget(run)
        if run.attempt is None:
            self._retry_until_stopped(lambda: self._settlement.put_back(watch))
        if is_cold and reason == "lost":
            raise SystemExit("the child ends before it can take a job")
        self._retry_until_stopped(lambda: self._settlement.settle(watch, reason))
        if reason != "lost":
            # With this id RQ reports a stopped job instead of a crash.
            self._stopped_job_id = self.execution.job_id if self.execution is not None else None
        if not self._stop_requested:
            self.children.start_spare()
        return pid, status, None
