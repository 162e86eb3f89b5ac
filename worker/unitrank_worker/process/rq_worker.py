"""RQ's worker with one long-lived child instead of a fork for each job.

    queue ──▶ WarmWorker ── job, execution ──▶ child: perform_job ──▶ unitrank_worker.tasks
              (no torch)  ◀────── done ───────
                  │
                  └─ every 0.15 s: has the record been cancelled, is its time over, is the child alive?

Forking after torch has run hangs, and with CUDA it is an error; a process for each job loads every model again. Here
models stay warm, a crash or a hang in native code costs the child only, and a killed child gives all its memory back.
Popping, registries and the drain at SIGTERM remain RQ's. What RQ does at the word of anyone who can write to the store is
left out: its suspension, and its commands over a channel (shutdown, kill-horse, stop-job).
"""

import math
import time
from typing import Any, NamedTuple

import redis
import structlog
from rq import Queue, Worker
from rq.job import Job
from rq.serializers import JSONSerializer
from rq.timeouts import HorseMonitorTimeoutException

from unitrank_schemas.base import Json
from unitrank_store.errors import Forged
from unitrank_store.jobs.job_store import JobStore
from unitrank_store.observability.counters import Counters
from unitrank_store.queue.rq_queue import FairQueue
from unitrank_store.queue.safe_job import SafeJob
from unitrank_worker.process.channel import Closed
from unitrank_worker.process.handle import ChildHandle
from unitrank_worker.process.heartbeat import Beats
from unitrank_worker.process.no_alarm import NoAlarm
from unitrank_worker.process.settlement import Endings
from unitrank_worker.process.watch import Verdict, Watch

log = structlog.get_logger()

POLL_SECONDS = 0.15


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
        jobs: JobStore,
        glances: JobStore,
        child: ChildHandle,
        beats: Beats,
        endings: Endings,
        seconds: Seconds,
        tallies: Counters,
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
        self._jobs = jobs
        self._glances = glances
        self.child = child
        self.beats = beats
        self._endings = endings
        self._tallies = tallies
        self._drain = drain
        self._stop_at = math.inf
        self._lost_after = math.ceil(seconds.heartbeat + seconds.grace)
        self._run: SafeJob | None = None
        self._watch: Watch | None = None

    def fork_work_horse(self, job: Job, queue: Queue) -> None:
        """Hand the job to the child, which is there already unless it has just died."""
        self.child.start()
        self._horse_pid = self.child.pid
        assert isinstance(job, SafeJob)
        assert self.execution is not None
        self._run = job
        try:
            self.child.send({"job": job.id, "execution": self.execution.id})
        except Closed:
            log.warning("child gone", worker=self._called)

    def wait_for_horse(self) -> tuple[int | None, int | None, Any]:
        """The child's process and 0 when it has done the job, its status as of waitpid(2) when it died.

        Raises HorseMonitorTimeoutException after each interval, as RQ's alarm would, for its heartbeats.
        """
        until = time.monotonic() + self.job_monitoring_interval
        while time.monotonic() < until:
            try:
                message = self.child.receive(POLL_SECONDS)
            except Closed:
                # After a second SIGTERM RQ kills the child itself.
                return self._bury("stopped" if self._stop_requested else "lost")
            if message is not None and "done" in message:
                return self._done(message)
            verdict: Verdict | None = "stopped" if time.monotonic() >= self._stop_at else self._look()
            if verdict is not None:
                return self._bury(verdict)
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
            self.beats.stop()
            super().teardown()  # type: ignore[no-untyped-call]  # RQ's
        except redis.exceptions.RedisError as error:
            log.warning("left unnoticed", worker=self._called, error=str(error))

    def _look(self) -> Verdict | None:
        """What the record says; most jobs end before the first look, and nobody is told of them."""
        if self._watch is None and self._run is not None:
            try:
                self._watch = self._watch_of(self._run)
            except redis.exceptions.RedisError as error:
                log.warning("not looked at", worker=self._called, rq_job=self._run.id, error=str(error))
                return None
            self.beats.working_on(self._watch.id, self.child.models)
        return self._watch.verdict() if self._watch is not None else None

    def _watch_of(self, job: SafeJob) -> Watch:
        try:
            id, attempt = job.record_id, job.attempt
        except Forged as error:
            # The child refuses it in its own way; meanwhile there is no record to look at.
            log.warning("forged", rq_job=job.id, error=str(error))
            id, attempt = job.id, 0
        return Watch(self._jobs, self._glances, id, attempt, self._called)

    def _done(self, message: Json) -> tuple[int, int, None]:
        pid = self.child.pid
        if message.get("leaving"):
            log.warning("child leaves", worker=self._called, pid=pid)
            self._tallies.child_ended("spoiled")
            self.child.end()
            self.child.start()
        self._run = self._watch = None
        self.beats.working_on(None, self.child.models)
        return pid, 0, None

    def _bury(self, verdict: Verdict) -> tuple[int, int, None]:
        """The child is dead, or has to be: end it, put the record right, and have a new one for the next job."""
        pid, was_ready = self.child.pid, self.child.ready
        status = self.child.end() or 1
        job = self._run.id if self._run is not None else None
        log.warning("child ended", worker=self._called, pid=pid, status=status, because=verdict, rq_job=job)
        self._tallies.child_ended(verdict)
        watch = self._watch or (self._watch_of(self._run) if self._run is not None else None)
        self._run = self._watch = None
        if watch is not None and not was_ready:
            self._endings.put_back(watch)
            raise SystemExit("the child ends before it can take a job")
        if watch is not None:
            self._endings.settle(watch, self._called, verdict)
            if verdict != "lost":
                # RQ then reports a stopped job and not a crash.
                self._stopped_job_id = self.execution.job_id if self.execution is not None else None
        if not self._stop_requested:
            self.child.start()
        self.beats.working_on(None, self.child.models)
        return pid, status, None
