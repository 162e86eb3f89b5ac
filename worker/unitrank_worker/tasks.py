"""The two functions that the queue can call, in the child: run a job, inspect a model. Here every job ends."""

import time
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field

import redis
import structlog

from unitrank_engine.errors import Cancelled
from unitrank_schemas.base import Json
from unitrank_schemas.jobs import JobRequest
from unitrank_store.contents.models import ModelRecord, ModelStore
from unitrank_store.contents.waiting_jobs import model_ready, reject_model
from unitrank_store.errors import RecordNotFound
from unitrank_store.jobs.job_store import JobStore
from unitrank_store.jobs.record import JobRecord, Status
from unitrank_store.observability import tracing
from unitrank_store.observability.counters import Counters
from unitrank_store.observability.logs import bound
from unitrank_store.observability.throughput import Throughput
from unitrank_store.queue.safe_job import current_attempt
from unitrank_store.results.part_cache import PartCache
from unitrank_store.results.result_store import ResultLocation, ResultStore
from unitrank_worker.engine import Assignment, Engine
from unitrank_worker.failures import ending, spoils_process

log = structlog.get_logger()

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
    jobs: JobStore
    inspections: JobStore
    progress: JobStore
    models: ModelStore
    results: ResultStore
    parts: PartCache
    rates: Throughput
    tallies: Counters
    engine: Engine
    spoiled: bool = False
    ready: dict[str, ModelRecord] = field(default_factory=dict)

    def model(self, resolved: Json) -> ModelRecord | None:
        """The model of a job, None where it is gone; a ready one does not change, and is read once."""
        digest = str(resolved.get("model", {}).get("digest"))
        if digest not in self.ready:
            try:
                found = self.models.content(digest)
            except RecordNotFound:
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
    """What a task leaves: its result, the last progress, the operations and seconds that its speed is known from, its summary.

    `stored` is a job's result, which lies outside of the record.
    """

    result: Json
    progress: Json | None = None
    speed: tuple[float, float] | None = None
    summary: Json | None = None
    stored: ResultLocation | None = None


def _attempt(desk: Desk, jobs: JobStore, id: str, work: Callable[[JobRecord], _Done]) -> Json | None:
    """Runs and ends the task; the problem that it ended with, where it was ours to end."""
    attempt = jobs.start(id, desk.worker, current_attempt())
    if attempt is None:
        log.info("not run", kind=jobs.kind, job=id)
        return None
    record = jobs.get(id)
    about = bound(jobs.kind, record)
    with structlog.contextvars.bound_contextvars(attempt=attempt, **about), tracing.job_span(jobs.kind, record, **about):
        return _ended(desk, jobs, record, work)


def _ended(desk: Desk, jobs: JobStore, record: JobRecord, work: Callable[[JobRecord], _Done]) -> Json | None:
    since = time.monotonic()
    status: Status = "succeeded"
    done = problem = None
    try:
        done = work(record)
    except Exception as error:
        status, problem = ending(error)
        desk.spoiled = spoils_process(error)
        unexpected = problem is not None and problem["code"] == "internal"
        (log.error if unexpected else log.info)("failed", exc_info=unexpected)
    result, progress = (done.result, done.progress) if done else (None, None)
    mine = jobs.finish(record.id, record.attempt, status, result=result, problem=problem, progress=progress)
    tracing.note(status=status)
    log.info("ended", status=status, accepted=mine, seconds=round(time.monotonic() - since, 3))
    if done and done.stored:
        desk.results.settle(done.stored, published=mine)
    if done:
        _note(desk, done)
    return problem if mine else None


def _note(desk: Desk, done: _Done) -> None:
    """What is known from a job that was done."""
    if done.speed:
        desk.rates.note(desk.device, *done.speed)
    if done.summary:
        desk.tallies.ran(done.summary)


def _compute(desk: Desk, record: JobRecord) -> _Done:
    # Rather than after all the work; by then there may be less.
    desk.results.require_room(desk.results.here(int(record.resolved.get("result_bytes", 0))))
    request = JobRequest.model_validate(record.request)
    parts = desk.parts.of(record.tenant, fresh=bool(record.resolved.get("fresh")))
    assignment = Assignment(record.id, request, record.resolved, desk.model(record.resolved), parts)
    report = _Reporter(desk.progress, record)
    since = time.monotonic()
    summary, arrays = desk.engine.run(assignment, report)
    tracing.note(**_rankings(summary))
    # a job that was spared work would look too fast
    spared = bool(summary.get("cost", {}).get("reused"))
    speed = None if spared else (float(record.resolved.get("flops", 0)), time.monotonic() - since)
    with tracing.span("store"):
        stored = desk.results.put(summary, arrays, record.id, record.attempt)
    return _Done(dict(stored), report.last, speed, summary, stored)


def _rankings(summary: Json) -> Json:
    """What each ranking took: they share one pass, so that none has a span of its own."""
    rankings = summary.get("rankings", [])
    return {"rankings": [each["id"] for each in rankings], "ranking_seconds": [float(each["seconds"]) for each in rankings]}


def _inspect(desk: Desk, record: JobRecord) -> _Done:
    digest = str(record.request["digest"])
    clean, manifest = desk.engine.inspect(desk.models.content(digest))
    desk.models.ready(digest, manifest, clean)
    model_ready(desk.connection, desk.jobs, digest)
    return _Done({"clean": clean})


class _Reporter:
    """Writes progress a few times a second. Raises Cancelled where the attempt should stop."""

    def __init__(self, jobs: JobStore, record: JobRecord) -> None:
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
            log.warning("progress lost", error=str(error))
            return
        if written != "written":
            raise Cancelled(f"{self._record.id}: {written}")
