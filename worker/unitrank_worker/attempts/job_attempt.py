"""An attempt at a job."""

from collections.abc import Callable, Collection

import redis
import structlog

from unitrank_schemas.base import Json
from unitrank_store.jobs.record import JobRecord, Status
from unitrank_store.observability import tracing
from unitrank_store.observability.logs import bound
from unitrank_store.results.result_store import ResultLocation
from unitrank_worker.attempts.attempt import CannotRun, Order, Patiently, log_end, opened, problem_of
from unitrank_worker.attempts.progress import ProgressWriter
from unitrank_worker.attempts.stores import AWAY, Stores
from unitrank_worker.problem import INTERNAL
from unitrank_worker.process.channel import Message

log = structlog.get_logger()

PROGRESS_SECONDS = 0.1
"""Progress is written at most this often, however often a child sends it."""
GONE = [
    ("dataset_not_found", "the dataset that this job was accepted for is not there any more"),
    ("model_not_ready", "the model that this job was accepted for is not there any more"),
]
"""The problem of each file of a job that was deleted between the look at it and the job's creation, which protects it."""


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
        log_end(status, ended)
        if location is not None:
            settled = location
            patiently(lambda: results.settle(settled, published=ended))
            self._note()

    def abandon(self) -> None:
        """Nothing was written yet."""

    def _stored(self, patiently: Patiently) -> tuple[Status, Json | None, ResultLocation | None]:
        outcome = self._outcome
        if outcome is None:
            return "failed", INTERNAL, None
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


def _rankings(summary: Json) -> Json:
    """The rankings and their seconds: they share one pass, so that none has a span of its own."""
    rankings = summary.get("rankings", [])
    return {"rankings": [each["id"] for each in rankings], "ranking_seconds": [float(each["seconds"]) for each in rankings]}
