"""An attempt at a job."""

import re
import time
from collections.abc import Callable, Collection

import redis
import structlog

from unitrank_schemas.base import Json
from unitrank_schemas.jobs import Progress
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
MOST_CHARACTERS = 256
"""Progress with a longer stage or unit is malformed."""
FINGERPRINT = re.compile("[0-9a-f]{1,64}")
MOST_FINGERPRINTS = 10_000
"""Parts that a child may ask for at once."""
FINGERPRINTS_AT_ONCE = 32
ANSWER_BYTES = 256 << 20
"""Once an answer holds this many bytes of parts, the rest is left out, and the child computes it."""
MOST_SPANS = 100
"""Spans of one attempt that reach the trace; the others are dropped."""
CLOCK_SECONDS = 60.0
"""A span may end this long after now, because clocks are set."""
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
        self._spans = 0
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
        results.require_room(results.bytes_in_redis(int(resolved.get("result_bytes", 0))))
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
        """Do as the message says; a message of an unknown kind changes nothing.

        Raises ValueError, TypeError, LookupError, ArithmeticError or AttributeError for a malformed one.
        """
        kind = next(iter(message.content), "")
        return self._handlers[kind](message) if kind in self._handlers else None

    @property
    def unwanted(self) -> bool:
        """Whether the record was seen to be cancelled, or given to another attempt."""
        return self._progress.stopped

    def finish(self, status: Status, problem: Json | None, patiently: Patiently) -> None:
        """Store the result first, then end the record: a result that no record names is removed later."""
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
        """Nothing to delete: a job's result is not written before its end."""

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
        """Note the speed of the device, unless the job reused parts and would look too fast."""
        assert self._outcome is not None
        summary = self._outcome.content["result"]
        try:
            if not summary.get("cost", {}).get("reused"):
                flops = float(self.record.resolved.get("flops", 0))
                self._stores.throughput.note(self._stores.device, flops, float(self._outcome.content["seconds"]))
            self._stores.counters.ran(summary)
        except (redis.exceptions.RedisError, ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            log.warning("not counted", error=repr(error))

    def _take_progress(self, message: Message) -> None:
        self._progress(_checked_progress(message.content["progress"]))

    def _take_span(self, message: Message) -> None:
        """A span outside of the attempt's time is dropped: the machine's clock was set, or the child is not ours any more."""
        name, since, until = str(message.content["span"]), float(message.content["since"]), float(message.content["until"])
        self._spans += 1
        if self._spans <= MOST_SPANS and 0 <= since <= until <= time.time() + CLOCK_SECONDS:
            tracing.past(name[:MOST_CHARACTERS], since=since, until=until)

    def _find_parts(self, message: Message) -> Message:
        fingerprints = [_checked_fingerprint(each) for each in message.content["find_parts"][:MOST_FINGERPRINTS]]
        parts: dict[str, bytes] = {}
        for start in range(0, len(fingerprints), FINGERPRINTS_AT_ONCE):
            if sum(map(len, parts.values())) < ANSWER_BYTES:
                parts |= self._parts.get(fingerprints[start : start + FINGERPRINTS_AT_ONCE])
        sizes = [[fingerprint, len(data)] for fingerprint, data in parts.items()]
        return Message({"parts": sizes}, b"".join(parts.values()))

    def _keep_part(self, message: Message) -> None:
        self._parts.put({_checked_fingerprint(message.content["keep_part"]): message.payload})

    def _take_result(self, message: Message) -> None:
        if not isinstance(message.content["result"], dict):
            raise TypeError("the summary is not an object")
        float(message.content["seconds"])
        if message.content["progress"] is not None:
            _checked_progress(message.content["progress"])
        self._outcome = message


def _checked_progress(progress: Json) -> Json:
    """The progress as records hold it. Raises ValueError."""
    checked = Progress.model_validate(progress)
    if max(len(checked.stage), len(checked.unit)) > MOST_CHARACTERS:
        raise ValueError(f"the stage or the unit of progress has more than {MOST_CHARACTERS} characters")
    return progress


def _checked_fingerprint(fingerprint: object) -> str:
    """The fingerprint, which becomes part of a key in the store. Raises ValueError."""
    if not isinstance(fingerprint, str) or not FINGERPRINT.fullmatch(fingerprint):
        raise ValueError("a fingerprint has 1 to 64 hexadecimal digits")
    return fingerprint


def _rankings(summary: Json) -> Json:
    """The rankings and their seconds: they share one pass, so that none has a span of its own."""
    rankings = summary.get("rankings", [])
    return {"rankings": [each["id"] for each in rankings], "ranking_seconds": [float(each["seconds"]) for each in rankings]}
