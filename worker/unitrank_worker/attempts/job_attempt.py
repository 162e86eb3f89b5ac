"""An attempt at a job."""

import json
import time
from collections.abc import Callable, Collection

import redis
import structlog

from unitrank_schemas.base import Json
from unitrank_schemas.jobs import job_summary
from unitrank_store.full import wait_reason
from unitrank_store.jobs.record import JobRecord, Status
from unitrank_store.observability import tracing
from unitrank_store.observability.logs import bound
from unitrank_store.observability.throughput import OPERATIONS_PER_SECOND
from unitrank_store.results.result_store import ResultLocation
from unitrank_worker.attempts.attempt import Answer, CannotRun, Order, Retry, log_end, opened, problem_of
from unitrank_worker.attempts.child_messages import MOST_CHARACTERS, checked_progress
from unitrank_worker.attempts.counts import queue_counts
from unitrank_worker.attempts.part_exchange import PartExchange
from unitrank_worker.attempts.progress import ProgressWriter
from unitrank_worker.attempts.shard_reads import ShardReads
from unitrank_worker.attempts.stores import Stores
from unitrank_worker.distributed.replica import JobHead
from unitrank_worker.problem import INTERNAL
from unitrank_worker.process.channel import Message

log = structlog.get_logger()

PROGRESS_SECONDS = 0.1
"""Shortest time between two writes of progress, in seconds."""
QUICK_BYTES = 256 << 10
"""A result with more bytes than this, of arrays or of the summary, is stored in the background."""
MOST_SPANS = 100
"""Largest number of spans of one attempt; further spans are dropped."""
CLOCK_SECONDS = 60.0
"""Seconds that a span may end after now, because clocks can be set back."""
WITHOUT_RAY = (
    "this job asks for `execution: distributed`, but the worker that took it has no UNITRANK_RAY; "
    "use `local` or `auto`, or ask the operator to set UNITRANK_RAY on all workers"
)
MISSING_DATASET = ("dataset_not_found", "the dataset of this job was deleted; upload it again, then submit the job again")
MISSING_SCORES = ("dataset_not_found", "a dataset of scores of this job was deleted; upload it again, then submit the job again")
MISSING_MODEL = ("model_not_ready", "the model of this job was deleted; upload it again, then submit the job again")
"""Code and detail of the problem if a file that the job needs is missing.

A job protects its files. A file can only be deleted between the checks of the request and the
creation of the job.
"""


class JobAttempt:
    """A job: the child gets model and dataset, and sends back progress, parts and the result."""

    def __init__(self, stores: Stores, record: JobRecord) -> None:
        self.record = record
        self._stores = stores
        self._progress = ProgressWriter(stores.jobs, record, PROGRESS_SECONDS)
        self._parts = PartExchange(stores.parts.of(record.tenant, fresh=bool(record.resolved.get("fresh"))))
        self._outcome: Message | None = None
        self._spans = 0
        self._shards = ShardReads(stores.blobs, ())
        self._handlers: dict[str, Callable[[Message], Answer]] = {
            "progress": self._take_progress,
            "span": self._take_span,
            "find_parts": self._parts.find,
            "keep_part": self._parts.keep,
            "read_shards": lambda message: self._shards.prepare(message),
            "result": self._take_result,
        }

    def order(self, warm: Collection[str]) -> Order:
        """As in `Attempt`.

        Raises CannotRun if the model or the dataset was deleted, and Full if the store has no room
        for the result.
        """
        resolved, results = self.record.resolved, self._stores.results
        if self._execution == "distributed" and self._stores.distribute_seconds is None:
            raise CannotRun("ray_unreachable", WITHOUT_RAY)
        # Without this check, the job would notice a full store only after all its work.
        results.require_room(results.bytes_in_redis(int(resolved.get("result_bytes", 0))))
        model = self._stores.model(str(resolved.get("model", {}).get("digest")))
        if model is None or model.clean is None:
            raise CannotRun("model_not_ready", "the model of this job was deleted; upload it again, then submit the job again")
        self._stores.memory.require(model.manifest or {})
        further = {reference: content["digest"] for reference, content in resolved.get("further", {}).items()}
        datasets = [resolved["dataset"]["digest"], *further.values()]
        self._shards = ShardReads(self._stores.blobs, datasets)
        models = [] if model.clean in warm else [model.clean]
        content = {
            "run": "job",
            "id": self.record.id,
            "request": self.record.request,
            "resolved": resolved
            | {"clean": model.clean, "model": resolved["model"] | {"digest": model.digest}}
            | ({"copied": True} if any(map(self._stores.is_copied, datasets)) else {}),
            "manifest": None if resolved.get("checked") else model.manifest,
            "about": bound("job", self.record) | {"attempt": self.record.attempt},
            "further": list(further),
            "spans": tracing.enabled(),
        }
        kinds = ["dataset"] * len(datasets) + ["model"] * len(models)
        missing = [MISSING_DATASET] + [MISSING_SCORES] * len(further) + [MISSING_MODEL] * len(models)
        files, chunks = opened(self._stores.blobs, [*datasets, *models], missing, kinds)
        head = JobHead(f"{self.record.id}.{self.record.attempt}", self.record.tenant, content, datasets, model.clean)
        must_divide = self._execution == "distributed"
        return Order(content | {"digests": chunks}, files, head if must_divide or self._is_long() else None, must_divide)

    @property
    def _execution(self) -> str:
        return str(self.record.request.get("execution", "auto"))

    def _is_long(self) -> bool:
        """Whether the job is divided because of its estimated seconds."""
        limit = self._stores.distribute_seconds
        if limit is None or self._execution != "auto":
            return False
        rate = self._stores.throughput.rate(self._stores.device) or OPERATIONS_PER_SECOND
        return float(self.record.resolved.get("flops", 0)) / rate > limit

    def take(self, message: Message) -> Answer:
        """As in `Attempt`. Messages of an unknown kind are ignored.

        Raises ValueError, TypeError, LookupError, ArithmeticError or AttributeError for a malformed
        message.
        """
        kind = next(iter(message.content), "")
        return self._handlers[kind](message) if kind in self._handlers else None

    @property
    def unwanted(self) -> bool:
        """As in `Attempt`."""
        return self._progress.stopped

    @property
    def ends_quickly(self) -> bool:
        """As in `Attempt`: a large result takes long, and a result in the blob store may."""
        if self._outcome is None:
            return True
        size = len(self._outcome.payload)
        is_small = size <= QUICK_BYTES and self._stores.results.bytes_in_redis(size) == size
        return is_small and len(json.dumps(self._outcome.content["result"])) <= QUICK_BYTES

    def finish(self, status: Status, problem: Json | None, retry: Retry) -> None:
        """Store the result, then end the record.

        If the record rejects the end, delete the result.
        """
        record, results = self.record, self._stores.results
        location, progress, summary = None, None, None
        if status == "succeeded":
            status, problem, location = self._store_result(retry)
            progress = self._outcome.content["progress"] if self._outcome else None
            summary = job_summary(self._outcome.content["result"]) if self._outcome and location else None
        ended = retry(
            lambda: self._stores.jobs.finish(
                record.id,
                record.attempt,
                status,
                result=dict(location) if location else None,
                problem=problem,
                progress=progress,
                summary=summary,
            )
        )
        log_end(status, ended)
        if location is not None and self._outcome is not None and ended:
            self._settle_and_count(location, self._outcome, retry)
        elif location is not None:
            rejected = location
            retry(lambda: results.settle(rejected, published=False))
        self._parts.write()

    def abandon(self) -> None:
        """As in `Attempt`. A job's result is not written before its end."""
        self._shards.close()

    def _store_result(self, retry: Retry) -> tuple[Status, Json | None, ResultLocation | None]:
        outcome = self._outcome
        if outcome is None:
            return "failed", INTERNAL, None
        summary = outcome.content["result"]
        record, results = self.record, self._stores.results
        try:
            tracing.note(**_rankings(summary))
            with tracing.span("store"):
                location = retry(lambda: results.put_encoded(summary, outcome.payload, record.id, record.attempt))
        except Exception as error:
            if wait_reason(error):
                raise
            return "failed", problem_of(error), None
        return "succeeded", None, location

    def _settle_and_count(self, location: ResultLocation, outcome: Message, retry: Retry) -> None:
        """Settle the published result, and count the job, in one round trip.

        Only the result must be settled: a count that cannot be written is lost.
        """
        with self._stores.connection.pipeline(transaction=False) as pipeline:
            queue_counts(self._stores, self.record, outcome, pipeline)
            self._stores.results.queue_settled(pipeline, location)
            try:
                pipeline.execute()
            except redis.exceptions.RedisError as error:
                log.warning("job not counted", error=repr(error))
                retry(lambda: self._stores.results.settle(location, published=True))

    def _take_progress(self, message: Message) -> None:
        self._progress(checked_progress(message.content["progress"]))

    def _take_span(self, message: Message) -> None:
        """Add a span to the trace.

        A span that ends in the future is dropped: a clock was set, or the child is compromised.
        """
        name, since, until = str(message.content["span"]), float(message.content["since"]), float(message.content["until"])
        self._spans += 1
        if self._spans <= MOST_SPANS and 0 <= since <= until <= time.time() + CLOCK_SECONDS:
            tracing.past(name[:MOST_CHARACTERS], since=since, until=until)

    def _take_result(self, message: Message) -> None:
        if not isinstance(message.content["result"], dict):
            raise TypeError("the summary is not an object")
        float(message.content["seconds"])
        if message.content["progress"] is not None:
            checked_progress(message.content["progress"])
        self._outcome = message


def _rankings(summary: Json) -> Json:
    """Ids and seconds of the rankings, as attributes of the job's span.

    The rankings share their passes, so no ranking has a span.
    """
    rankings = summary.get("rankings", [])
    return {
        "rankings": [ranking["id"] for ranking in rankings],
        "ranking_seconds": [float(ranking["seconds"]) for ranking in rankings],
    }
