"""The two functions that the queue can call, in the child: run a job, inspect a model. Here every job ends."""

import logging
import time
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field

import redis

from api_schemas.jobs import JobRequest
from store.arrivals import model_ready, reject_model
from store.errors import NotFound
from store.jobs import Jobs
from store.models import ModelRecord, Models
from store.queue import current_attempt
from store.rates import Rates
from store.record import JobRecord, Json, Status
from store.results import Results
from worker.ending import ending, spoils_process
from worker.engine import Assignment, Engine
from worker.errors import Cancelled

log = logging.getLogger("unitrank.tasks")

# Progress is written no more often than this.
REPORT_SECONDS = 0.2
# Manifests of models that are kept at hand; one can have megabytes.
MOST_READY = 32


@dataclass
class Desk:
    """All that a task needs; a child has one. `connection` is patient: it waits for a store that is away."""

    worker: str
    device: str
    connection: redis.Redis
    jobs: Jobs
    inspections: Jobs
    progress: Jobs
    models: Models
    results: Results
    rates: Rates
    engine: Engine
    spoiled: bool = False
    ready: dict[str, ModelRecord] = field(default_factory=dict)

    def model(self, resolved: Json) -> ModelRecord | None:
        """The model of a job, None where it is gone; a ready one does not change, and is read once."""
        digest = str(resolved.get("model", {}).get("digest"))
        if digest not in self.ready:
            try:
                found = self.models.content(digest)
            except NotFound:
                return None
            if found.status != "ready":
                return found
            if len(self.ready) >= MOST_READY:
                del self.ready[next(iter(self.ready))]
            self.ready[digest] = found
        return self.ready[digest]


# RQ calls the tasks with an id and nothing else.
DESK: ContextVar[Desk] = ContextVar("desk")


def run_job(id: str) -> None:
    """Compute a job's result and end the job; nothing where it may not run."""
    desk = DESK.get()
    _attempt(desk, desk.jobs, id, lambda record: _compute(desk, record))


def inspect_model(id: str) -> None:
    """Vet an uploaded model and make it ready, or reject it; nothing where that was done."""
    desk = DESK.get()
    problem = _attempt(desk, desk.inspections, id, lambda record: _inspect(desk, record))
    if problem is not None:
        reject_model(desk.jobs, desk.models, f"sha256:{id}", problem)


@dataclass(frozen=True)
class _Done:
    """What a task leaves: its result, the last progress, and the operations and seconds that its speed is known from."""

    result: Json
    progress: Json | None = None
    speed: tuple[float, float] | None = None


def _attempt(desk: Desk, jobs: Jobs, id: str, work: Callable[[JobRecord], _Done]) -> Json | None:
    """Runs and ends the task; the problem that it ended with, where it was ours to end."""
    attempt = jobs.start(id, desk.worker, current_attempt())
    if attempt is None:
        log.info("event=not_run %s=%s", jobs.kind, id)
        return None
    record = jobs.get(id)
    since = time.monotonic()
    status: Status = "succeeded"
    done = problem = None
    try:
        done = work(record)
    except Exception as error:
        status, problem = ending(error)
        desk.spoiled = spoils_process(error)
        log.log(_level(problem), "event=error %s", _names(jobs, record), exc_info=_level(problem) == logging.ERROR)
    result, progress = (done.result, done.progress) if done else (None, None)
    mine = jobs.finish(id, attempt, status, result=result, problem=problem, progress=progress)
    seconds = time.monotonic() - since
    log.info("event=ended %s status=%s accepted=%s seconds=%.3f", _names(jobs, record), status, mine, seconds)
    if done and done.speed:
        desk.rates.note(desk.device, *done.speed)
    return problem if mine else None


def _compute(desk: Desk, record: JobRecord) -> _Done:
    request = JobRequest.model_validate(record.request)
    assignment = Assignment(record.id, request, record.resolved, desk.model(record.resolved))
    report = _Reporter(desk.progress, record)
    since = time.monotonic()
    summary, arrays = desk.engine.run(assignment, report)
    speed = float(record.resolved.get("flops", 0)), time.monotonic() - since
    return _Done(dict(desk.results.put(summary, arrays)), report.last, speed)


def _inspect(desk: Desk, record: JobRecord) -> _Done:
    digest = str(record.request["digest"])
    clean, manifest = desk.engine.inspect(desk.models.content(digest))
    desk.models.ready(digest, manifest, clean)
    model_ready(desk.connection, desk.jobs, digest)
    return _Done({"clean": clean})


def _level(problem: Json | None) -> int:
    return logging.ERROR if problem is not None and problem["code"] == "internal" else logging.INFO


def _names(jobs: Jobs, record: JobRecord) -> str:
    request = record.resolved.get("request_id", "-")
    return f"{jobs.kind}={record.id} attempt={record.attempt} request={request}"


class _Reporter:
    """Writes progress a few times a second. Raises Cancelled where the attempt should stop."""

    def __init__(self, jobs: Jobs, record: JobRecord) -> None:
        self._jobs = jobs
        self._record = record
        self._next = time.monotonic() + REPORT_SECONDS
        self.last: Json | None = None

    def __call__(self, progress: Json) -> None:
        self.last = progress
        # what cannot be counted may take long, and is said at once
        if progress["total"] and time.monotonic() < self._next:
            return
        self._next = time.monotonic() + REPORT_SECONDS
        try:
            written = self._jobs.progress(self._record.id, self._record.attempt, progress)
        except redis.exceptions.RedisError as error:
            # A job outlives an outage of the store; only its end has to wait for it.
            log.warning("event=progress_lost job=%s error=%s", self._record.id, error)
            return
        if written != "written":
            raise Cancelled(f"{self._record.id}: {written}")
