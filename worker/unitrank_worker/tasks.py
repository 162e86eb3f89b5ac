"""Attempts at jobs and inspections, in the worker's parent: what the child is given, and what becomes of its messages.

Here every attempt ends: the child says how, and the parent writes it into the record.
"""

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any, BinaryIO, Protocol

import redis
import structlog

from unitrank_schemas.base import Json
from unitrank_store.blobs.blob_store import BlobStore, IncomingBlob
from unitrank_store.contents.models import ModelRecord, ModelStore
from unitrank_store.contents.waiting_jobs import model_ready, reject_model
from unitrank_store.errors import Full, RecordNotFound, SizeExceeded
from unitrank_store.jobs.job_store import JobStore
from unitrank_store.jobs.record import JobRecord, Status
from unitrank_store.observability import tracing
from unitrank_store.observability.counters import Counters
from unitrank_store.observability.logs import bound
from unitrank_store.observability.throughput import Throughput
from unitrank_store.results.part_cache import PartCache
from unitrank_store.results.result_store import ResultLocation, ResultStore
from unitrank_worker.problem import problem
from unitrank_worker.process.channel import Message

log = structlog.get_logger()

AWAY = (redis.exceptions.ConnectionError, redis.exceptions.TimeoutError)
"""The errors of a store that is away."""
PROGRESS_SECONDS = 0.1
"""Progress is written at most this often, however often a child sends it."""
MOST_READY = 32
"""Records of models that are kept at hand; a manifest can have megabytes."""

Patiently = Callable[[Callable[[], Any]], Any]
"""Calls a function again while the store is away. Any: whatever the function returns."""


@dataclass
class Stores:
    """The stores that attempts read and write; `jobs` holds the records of the worker's own kind."""

    device: str
    connection: redis.Redis
    jobs: JobStore
    waiting: JobStore
    blobs: BlobStore
    models: ModelStore
    results: ResultStore
    parts: PartCache
    throughput: Throughput
    counters: Counters
    ready_models: dict[str, ModelRecord] = field(default_factory=dict)

    def model(self, digest: str) -> ModelRecord | None:
        """The model's record, None where it is gone; a ready one does not change, and is read once."""
        if digest not in self.ready_models:
            try:
                record = self.models.content(digest)
            except RecordNotFound:
                return None
            if record.status != "ready":
                return record
            if len(self.ready_models) >= MOST_READY:
                del self.ready_models[next(iter(self.ready_models))]
            self.ready_models[digest] = record
        return self.ready_models[digest]


class CannotRun(Exception):
    """The attempt ends before the child sees it; `code` and `detail` make the problem."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


@dataclass(frozen=True)
class Order:
    """An attempt as the child gets it. The files are closed once they are sent."""

    content: Json
    files: Sequence[BinaryIO]


class Attempt(Protocol):
    """One attempt at a record, from the order to its end."""

    record: JobRecord

    def order(self, warm: Collection[str]) -> Order:
        """What the child needs; `warm`: the digests of the models that it holds. Raises CannotRun, Full and RedisError."""
        ...

    def take(self, message: Message) -> Message | None:
        """Do as the message says; a question of the child has an answer. Raises RedisError."""
        ...

    @property
    def unwanted(self) -> bool:
        """Whether the record was seen to be cancelled, or given to another attempt."""
        ...

    def finish(self, status: Status, problem: Json | None, patiently: Patiently) -> None:
        """Write the end into the record, with what the child has sent until then."""
        ...

    def abandon(self) -> None:
        """The child is gone: let go of what it has sent."""
        ...


def start(stores: Stores, id: str, worker: str, number: int | None) -> JobRecord | None:
    """The record, whose attempt begins now; None where it may not run. `number`: the attempt that was put in the queue."""
    if stores.jobs.start(id, worker, number) is None:
        log.info("not run", kind=stores.jobs.kind, job=id)
        return None
    return stores.jobs.get(id)


def attempt_at(stores: Stores, record: JobRecord) -> Attempt:
    """The attempt that the record's kind needs."""
    return ATTEMPTS[stores.jobs.kind](stores, record)


class JobAttempt:
    """A job: archive and data go to the child; progress, parts and the result come back."""

    def __init__(self, stores: Stores, record: JobRecord) -> None:
        self.record = record
        self._stores = stores
        self._progress = ProgressWriter(stores.jobs, record, PROGRESS_SECONDS)
        self._parts = stores.parts.of(record.tenant, fresh=bool(record.resolved.get("fresh")))
        self._outcome: Message | None = None
        self._handlers: dict[str, Callable[[Message], Message | None]] = {
            "progress": self._take_progress,
            "span": self._take_span,
            "find_parts": self._find_parts,
            "keep_part": self._keep_part,
            "result": self._take_result,
        }

    def order(self, warm: Collection[str]) -> Order:
        """Raises CannotRun where the model or the data are gone, Full where the result would find no room."""
        resolved, results = self.record.resolved, self._stores.results
        # Rather than after all the work; by then there may be less room.
        results.require_room(results.here(int(resolved.get("result_bytes", 0))))
        model = self._stores.model(str(resolved.get("model", {}).get("digest")))
        if model is None or model.clean is None:
            raise CannotRun("model_not_ready", "the model that this job was accepted for is not there any more")
        digests = [resolved["dataset"]["digest"], *([] if model.clean in warm else [model.clean])]
        content = {
            "run": "job",
            "id": self.record.id,
            "request": self.record.request,
            "resolved": resolved | {"clean": model.clean, "model": resolved["model"] | {"digest": model.digest}},
            "manifest": None if resolved.get("checked") else model.manifest,
            "about": bound("job", self.record) | {"attempt": self.record.attempt},
        }
        return Order(content, opened(self._stores.blobs, digests, GONE))

    def take(self, message: Message) -> Message | None:
        """Do as the message says; a message of no known kind changes nothing."""
        kind = next(iter(message.content), "")
        return self._handlers[kind](message) if kind in self._handlers else None

    @property
    def unwanted(self) -> bool:
        """Whether the record was seen to be cancelled, or given to another attempt."""
        return self._progress.stopped

    def finish(self, status: Status, problem: Json | None, patiently: Patiently) -> None:
        """Store the result first, then end the record: a result that nobody was told of is swept."""
        record, results = self.record, self._stores.results
        location, progress = None, None
        if status == "succeeded":
            status, problem, location = self._stored(patiently)
            progress = self._outcome.content["progress"] if self._outcome else None
        ended = patiently(
            lambda: self._stores.jobs.finish(
                record.id, record.attempt, status, result=dict(location) if location else None, problem=problem, progress=progress
            )
        )
        _log_end(status, ended)
        if location is not None:
            settled = location
            patiently(lambda: results.settle(settled, published=ended))
            self._note()

    def abandon(self) -> None:
        """Nothing was written yet."""

    def _stored(self, patiently: Patiently) -> tuple[Status, Json | None, ResultLocation | None]:
        outcome = self._outcome
        if outcome is None:
            return "failed", problem("internal", "an error of ours; its details are in the worker's log", status=500), None
        summary = outcome.content["result"]
        record, results = self.record, self._stores.results
        try:
            tracing.note(**_rankings(summary))
            with tracing.span("store"):
                location = patiently(lambda: results.put_encoded(summary, outcome.payload, record.id, record.attempt))
        except AWAY:
            raise
        except Exception as error:
            return "failed", problem_of(error), None
        return "succeeded", None, location

    def _note(self) -> None:
        """How fast the device was, unless the job was spared work and would look too fast."""
        assert self._outcome is not None
        summary = self._outcome.content["result"]
        try:
            if not summary.get("cost", {}).get("reused"):
                flops = float(self.record.resolved.get("flops", 0))
                self._stores.throughput.note(self._stores.device, flops, float(self._outcome.content["seconds"]))
            self._stores.counters.ran(summary)
        except redis.exceptions.RedisError as error:
            log.warning("not counted", error=str(error))

    def _take_progress(self, message: Message) -> None:
        self._progress(message.content["progress"])

    def _take_span(self, message: Message) -> None:
        tracing.past(str(message.content["span"]), since=float(message.content["since"]), until=float(message.content["until"]))

    def _find_parts(self, message: Message) -> Message:
        parts = self._parts.get([str(each) for each in message.content["find_parts"]])
        sizes = [[fingerprint, len(data)] for fingerprint, data in parts.items()]
        return Message({"parts": sizes}, b"".join(parts.values()))

    def _keep_part(self, message: Message) -> None:
        self._parts.put({str(message.content["keep_part"]): message.payload})

    def _take_result(self, message: Message) -> None:
        if not isinstance(message.content["result"], dict):
            raise TypeError("the summary is not an object")
        float(message.content["seconds"])
        self._outcome = message


class InspectionAttempt:
    """An inspection: the upload goes to the child; the cleaned archive and the manifest come back."""

    def __init__(self, stores: Stores, record: JobRecord) -> None:
        self.record = record
        self._stores = stores
        self._digest = str(record.request["digest"])
        self._incoming: IncomingBlob | None = None
        self._manifest: Json | None = None

    def order(self, warm: Collection[str]) -> Order:
        """Raises CannotRun where the upload is gone."""
        model = self._stores.models.content(self._digest)
        by_weights = bool(model.architecture and model.weights)
        content = {
            "run": "inspection",
            "id": self.record.id,
            "architecture": model.architecture if by_weights else None,
            "about": bound("inspection", self.record) | {"attempt": self.record.attempt},
        }
        return Order(content, opened(self._stores.blobs, [str(model.weights if by_weights else model.digest)], []))

    def take(self, message: Message) -> Message | None:
        """The pieces of the cleaned archive come first, then the manifest."""
        if "archive" in message.content:
            self._incoming = self._incoming or self._stores.blobs.incoming()
            self._incoming.write(message.payload)
        elif "manifest" in message.content:
            self._manifest = message.content["manifest"]
        return None

    @property
    def unwanted(self) -> bool:
        """An inspection writes no progress, and so is not told here."""
        return False

    def finish(self, status: Status, problem: Json | None, patiently: Patiently) -> None:
        """Make the model ready and release the jobs that wait for it, or reject it with them."""
        stores, digest, clean = self._stores, self._digest, None
        if status == "succeeded" and self._incoming is not None and self._manifest is not None:
            clean, manifest = self._incoming.commit(), self._manifest
            try:
                patiently(lambda: stores.models.ready(digest, manifest, clean))
                patiently(lambda: model_ready(stores.connection, stores.waiting, digest))
            except AWAY:
                raise
            except Exception as error:
                status, problem = "failed", problem_of(error)
        self.abandon()
        result = {"clean": clean} if status == "succeeded" else None
        ended = patiently(lambda: stores.jobs.finish(self.record.id, self.record.attempt, status, result=result, problem=problem))
        _log_end(status, ended)
        if problem is not None and ended:
            reason = problem
            patiently(lambda: reject_model(stores.waiting, stores.models, digest, reason))

    def abandon(self) -> None:
        """Nothing of the cleaned archive is left, unless it was committed."""
        if self._incoming is not None:
            self._incoming.abort()
            self._incoming = None


ATTEMPTS: dict[str, Callable[[Stores, JobRecord], Attempt]] = {"job": JobAttempt, "inspection": InspectionAttempt}
GONE = [
    ("dataset_not_found", "the dataset that this job was accepted for is not there any more"),
    ("model_not_ready", "the model that this job was accepted for is not there any more"),
]
"""The problem of each file of a job that was deleted between the look at it and the job's creation, which protects it."""


def opened(blobs: BlobStore, digests: Sequence[str], gone: Sequence[tuple[str, str]]) -> list[BinaryIO]:
    """The contents as open files, in order; `gone`: the problem where one is missing. Raises CannotRun."""
    files: list[BinaryIO] = []
    try:
        for index, digest in enumerate(digests):
            try:
                files.append(blobs.path(digest).open("rb"))
            except (RecordNotFound, FileNotFoundError) as error:
                if index < len(gone):
                    raise CannotRun(*gone[index]) from error
                raise
    except BaseException:
        for file in files:
            file.close()
        raise
    return files


def problem_of(error: Exception) -> Json:
    """The problem of an attempt that the parent could not begin or could not end."""
    if isinstance(error, CannotRun):
        return problem(error.code, error.detail)
    if isinstance(error, SizeExceeded):
        return problem("result_too_large", f"the result is too large: {error}")
    if isinstance(error, Full):
        return problem("storage_full", f"the result could not be stored: {error}", status=503, retryable=True)
    log.error("failed", exc_info=error)
    return problem("internal", "an error of ours; its details are in the worker's log", status=500)


def _log_end(status: Status, accepted: bool) -> None:
    tracing.note(status=status)
    log.info("ended", status=status, accepted=accepted)


def _rankings(summary: Json) -> Json:
    """The rankings and their seconds: they share one pass, so that none has a span of its own."""
    rankings = summary.get("rankings", [])
    return {"rankings": [each["id"] for each in rankings], "ranking_seconds": [float(each["seconds"]) for each in rankings]}


class ProgressWriter:
    """Writes the progress of an attempt into its record, at most every `seconds`; `stopped` once the record says stop."""

    def __init__(self, jobs: JobStore, record: JobRecord, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._jobs = jobs
        self._record = record
        self._seconds = seconds
        self._clock = clock
        self._next = 0.0
        self.stopped = False

    def __call__(self, progress: Json) -> None:
        if progress["total"] and self._clock() < self._next:
            return
        self._next = self._clock() + self._seconds
        try:
            written = self._jobs.progress(self._record.id, self._record.attempt, progress)
        except redis.exceptions.RedisError as error:
            # A job outlives an outage of the store; only its end has to wait for it.
            log.warning("progress lost", error=str(error))
            return
        self.stopped = written != "written"
