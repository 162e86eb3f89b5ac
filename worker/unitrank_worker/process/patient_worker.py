"""RQ's worker, changed where RQ ends or kills: it waits while the store cannot serve.

Some of RQ's features are switched off, because any program with access to the store could misuse
them: suspension, and commands over a channel (shutdown, kill-horse, stop-job).
"""

import math
import time
from collections.abc import Callable
from functools import partial
from typing import Any
from uuid import uuid4

import redis
import structlog
from rq import Queue, Worker
from rq.exceptions import StopRequested
from rq.executions import Execution, ExecutionRegistry
from rq.job import Job
from rq.timeouts import BaseDeathPenalty
from rq.worker import WorkerStatus

from unitrank_store.full import wait_reason
from unitrank_store.unavailable import unavailable_reason

log = structlog.get_logger()

RETRY_SECONDS = 0.25
"""Seconds between two tries of a command while the store cannot serve."""
HEARTBEAT_SECONDS = 15.0
"""Shortest time between two heartbeats of a worker that runs no job, in seconds.

RQ sends two after each job. Its entry of the worker expires after `worker_ttl`, 420 s.
"""


class NoAlarm(BaseDeathPenalty):
    """RQ's timeout without SIGALRM, which does not reach native code.

    It sets no timeout: the worker checks the time of a job, and kills its child with SIGKILL.
    """

    def setup_death_penalty(self) -> None:
        """Do nothing."""

    def cancel_death_penalty(self) -> None:
        """Do nothing."""


class PatientWorker(Worker):
    """RQ's worker, which waits while the store cannot serve. RQ's own worker ends.

    `_stop_at`: monotonic time from which no step waits for the store any more.
    `_idle_since`: monotonic time of the last `end_execution`; infinite before the first job and
    during a job.
    `_unwritten_start`: writes the start of the running job; None if the start is written.
    """

    death_penalty_class = NoAlarm
    _worker_name = ""
    _stop_at = math.inf
    _idle_since = math.inf
    _unwritten_start: Callable[[], None] | None = None

    def register_birth(self) -> None:
        """As in RQ, but the worker waits."""
        self._repeat(super().register_birth, self._must_stop)

    def dequeue_job_and_maintain_ttl(self, *arguments: Any) -> tuple[Job, Queue] | None:
        """As in RQ, but the worker waits. Any: as in RQ."""
        step = super().dequeue_job_and_maintain_ttl
        taken: tuple[Job, Queue] | None = self._repeat(lambda: step(*arguments), self._must_stop)
        return taken

    def execute_job(self, job: Job, queue: Queue) -> None:
        """As in RQ, but `wait_for_horse` calls `begin_execution`."""
        # RQ's handler of a signal to stop interrupts a worker that is not busy.
        self._state = WorkerStatus.BUSY
        self.fork_work_horse(job, queue)
        self.monitor_work_horse(job, queue)
        self.set_state(WorkerStatus.IDLE)

    def begin_execution(self, job: Job, *, genuine: bool) -> None:
        """Write the start of a job into RQ's registries, in one round trip.

        The job goes on if the store cannot serve: no process of Unitrank reads these registries.
        `maintain_heartbeats` then tries again.
        `genuine`: whether Unitrank wrote the job's entry. Another entry stays where it was taken.
        """
        self._idle_since = math.inf
        self.execution = Execution(uuid4().hex, job.id, self.connection, self.name)
        self._unwritten_start = partial(self._write_start, self.execution, job, genuine)
        self._without_error("start", self._unwritten_start)

    def end_execution(self, job: Job) -> None:
        """Write the end of a job into RQ's registries, in one round trip.

        RQ's own steps take 18. They also read dependents and results, which a `SafeJob` does not
        have.
        """
        self._unwritten_start = None
        with self.connection.pipeline() as pipeline:
            self.increment_successful_job_count(pipeline)
            self.increment_total_working_time(job.ended_at - job.started_at, pipeline)  # type: ignore[operator]  # both are set
            self.cleanup_execution(job, pipeline)
            pipeline.delete(job.key, ExecutionRegistry(job.id, self.connection).key)
            pipeline.lrem(self.queues[0].intermediate_queue_key, 1, job.id)
            self.set_current_job_working_time(0, pipeline)
            pipeline.hset(self.key, "state", WorkerStatus.IDLE)
            self.heartbeat(pipeline=pipeline)
            pipeline.execute()
        self._idle_since = time.monotonic()

    def _write_start(self, execution: Execution, job: Job, genuine: bool) -> None:
        seconds = self.get_heartbeat_ttl(job)
        with self.connection.pipeline() as pipeline:
            # The steps of `Execution.create`, which would give each try an id of its own.
            execution.save(seconds, pipeline)
            ExecutionRegistry(job.id, pipeline).add(execution, seconds, pipeline)
            job.started_job_registry.add_execution(execution, pipeline, seconds, xx=False)
            self.set_state(WorkerStatus.BUSY, pipeline)
            if genuine:
                self.set_current_job_id(job.id, pipeline)
                self.set_current_job_working_time(0, pipeline)
                self.heartbeat(seconds, pipeline)
                job.prepare_for_execution(self.name, pipeline)
                pipeline.lrem(self.queues[0].intermediate_queue_key, 1, job.id)
            pipeline.execute()
        self._unwritten_start = None

    def heartbeat(self, timeout: int | None = None, pipeline: Any = None) -> None:
        """As in RQ, but the worker goes on if the store cannot serve.

        `end_execution` sends a heartbeat, so RQ's heartbeats soon after it are left out.
        """
        if pipeline is None and timeout is None and 0 <= time.monotonic() - self._idle_since < HEARTBEAT_SECONDS:
            return
        step = super().heartbeat
        self._without_error("heartbeat", lambda: step(timeout, pipeline))

    def maintain_heartbeats(self, job: Job) -> None:
        """As in RQ, but the job goes on if the store cannot serve."""
        step = super().maintain_heartbeats
        self._without_error("heartbeat", self._unwritten_start or (lambda: step(job)))

    def set_state(self, state: str, pipeline: Any = None) -> None:
        """As in RQ, but the worker goes on if the store cannot serve.

        `end_execution` has written that the worker is idle, so it is not written again.
        """
        if pipeline is None and state == WorkerStatus.IDLE and self._idle_since < math.inf:
            self._state = state
            return
        step = super().set_state
        self._without_error("state", lambda: step(state, pipeline))

    def set_current_job_working_time(self, current_job_working_time: float, pipeline: Any = None) -> None:
        """As in RQ, but the job goes on if the store cannot serve.

        `end_execution` has written the 0 of an idle worker, so it is not written again.
        """
        if pipeline is None and self._idle_since < math.inf:
            return
        step = super().set_current_job_working_time
        self._without_error("working time", lambda: step(current_job_working_time, pipeline))

    def run_maintenance_tasks(self) -> None:
        """As in RQ, but malformed entries in RQ's registries do not stop the worker."""
        try:
            super().run_maintenance_tasks()  # type: ignore[no-untyped-call]  # RQ's
        except StopRequested:
            # RQ raises this error at a signal to stop.
            raise
        except Exception as error:
            if unavailable_reason(error):
                raise
            log.exception("RQ maintenance failed", worker=self._worker_name)

    def check_for_suspension(self, burst: bool) -> None:
        """Do nothing: a key in the store must not stop a worker."""

    def subscribe(self) -> None:
        """Do nothing: a message through the store must not stop a worker or its child."""

    def set_shutdown_requested_date(self) -> None:
        """Do nothing: no process reads this date, and writing it can fail."""

    def _set_ip_address(self, connection: redis.Redis) -> None:
        """Do nothing: no process reads the address, and a store's ACL may forbid `CLIENT`."""
        self.ip_address = "unknown"

    def _without_error(self, step: str, write: Callable[[], object]) -> None:
        """Write to RQ's own registries, which no other process of Unitrank reads."""
        try:
            write()
        except redis.exceptions.RedisError as error:
            log.warning(f"RQ {step} lost", worker=self._worker_name, error=wait_reason(error) or str(error))

    def _retry(self, step: Callable[[], Any]) -> Any:
        """Repeat the step until the store can serve, so that no computed result is lost.

        Any: the value that the step returns. Raises the store's error if the worker must stop.
        """
        return self._repeat(step, lambda: time.monotonic() >= self._stop_at)

    def _retry_until_stopped(self, step: Callable[[], Any]) -> Any:
        """As `_retry`, but the step runs only once after a signal to stop."""
        return step() if self._stop_requested else self._retry(step)

    def _must_stop(self) -> bool:
        """Whether a signal to stop has come: a job that has not begun then need not wait."""
        return bool(self._stop_requested)

    def _repeat(self, step: Callable[[], Any], is_over: Callable[[], bool]) -> Any:
        """Repeat the step while the store cannot serve or is full.

        Raises the store's error once `is_over`.
        """
        logged = None
        while True:
            try:
                return step()
            except redis.exceptions.RedisError as error:
                reason = wait_reason(error)
                if reason is None or is_over():
                    raise
                if reason != logged:
                    log.warning("waiting for the store", worker=self._worker_name, reason=reason)
                    logged = reason
                time.sleep(RETRY_SECONDS)
