"""Models and datasets that lie elsewhere: read into the blob store, whole or not at all, by threads of the service.

What is to be read stands in the store. A service that is killed while it reads leaves nothing; another one, or the same
after its restart, begins anew, three times at most.
"""

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import redis
import structlog

from api_schemas.problems import JobProblem
from service.architectures import check_weights
from service.catalogue import read_header
from service.errors import RefusedBody
from service.measures import Measures
from store import names
from store.arrivals import dataset_arrived, dataset_rejected, model_arrived, model_rejected
from store.blobs import Blobs, Writer
from store.datasets import Datasets
from store.errors import BadSource, BadTable, Conflict, NotFound, TooLarge
from store.jobs import Jobs
from store.leases import lease
from store.models import Models
from store.queue import enqueue_inspection
from store.record import Json
from store.settings import Settings
from store.sources import Source, Sources
from store.tables import join, open_table

LOOK_SECONDS = 2.0
MOST_ATTEMPTS = 3
Kind = Literal["model", "dataset"]


class _Refused(Exception):
    """What was read cannot be taken."""

    def __init__(self, code: str, detail: str, retryable: bool = False) -> None:
        super().__init__(detail)
        self.problem: Json = JobProblem(
            code=code, title=code.replace("_", " ").capitalize(), detail=detail, retryable=retryable
        ).model_dump(mode="json")


@dataclass
class Importer:
    """Nothing is read before `run`; `wake` has it look at once."""

    connection: redis.Redis
    settings: Settings
    sources: Sources
    blobs: Blobs
    models: Models
    datasets: Datasets
    jobs: Jobs
    measures: Measures
    _news: threading.Condition = field(default_factory=threading.Condition)

    def run(self, stop: threading.Event) -> None:
        """Read whatever is to be read until told to stop."""
        while not stop.is_set():
            try:
                busy = self.read_next(stop)
            except (redis.exceptions.ConnectionError, redis.exceptions.TimeoutError) as error:
                structlog.get_logger().warning("import waits for the store", reason=str(error))
                busy = False
            except Exception:
                # Whatever one round stumbles over: the next one begins anew.
                structlog.get_logger().exception("import round failed")
                busy = False
            if not busy:
                with self._news:
                    self._news.wait(LOOK_SECONDS)

    def read_next(self, stop: threading.Event) -> bool:
        """Read one of what nobody else reads; False where there is none."""
        for kind, catalogue in (("model", self.models), ("dataset", self.datasets)):
            for key in catalogue.unread():
                with lease(self.connection, names.import_lock(key)) as mine:
                    if mine and not stop.is_set():
                        self._read(kind, key, stop)
                        return True
        return False

    def wake(self) -> None:
        """There is something new to read, or it is time to stop."""
        with self._news:
            self._news.notify_all()

    def _read(self, kind: str, key: str, stop: threading.Event) -> None:
        log = structlog.get_logger().bind(kind=kind, key=key)
        begun = time.monotonic()
        try:
            self._count_attempt(key)
            bring = self._bring_model if kind == "model" else self._bring_dataset
            bring(key, _Clock(begun + self.settings.import_timeout, stop))
        except NotFound:
            log.info("import not wanted any more")
            self.measures.imported(kind, "dropped")
        except _Stopped:
            log.info("import left for another start")
            self.measures.imported(kind, "left")
        except redis.exceptions.RedisError:
            raise
        except Exception as error:
            self._reject(kind, key, _problem(error))
            self.measures.imported(kind, "rejected")
        else:
            log.info("imported", seconds=round(time.monotonic() - begun, 3))
            self.measures.imported(kind, "imported")

    def _count_attempt(self, key: str) -> None:
        attempts = names.import_attempts(key)
        count = int(self.connection.incr(attempts))
        self.connection.expire(attempts, 24 * 3600)
        if count > MOST_ATTEMPTS:
            raise _Refused("import_failed", f"the service was lost {MOST_ATTEMPTS} times while it read this; it is not tried again")

    def _bring_model(self, key: str, clock: "_Clock") -> None:
        model = self.models.content(key)
        (source,) = self._files(model.uri)
        with self.blobs.writer(self.settings.max_model_bytes) as writer:
            _pour([source], writer, clock)
            if model.architecture:
                check_weights(writer.path)
        try:
            begun = self.models.arrived(key, writer.digest, writer.size)
        except NotFound:
            self.models.discard(writer.digest)
            raise
        if begun.inspect:
            enqueue_inspection(self.connection, begun.record.digest, self.settings.inspection_timeout)
        model_arrived(self.connection, self.jobs, self.models, key, begun.record.digest)

    def _bring_dataset(self, key: str, clock: "_Clock") -> None:
        limit = self.settings.max_dataset_bytes
        sources = self._files(self.datasets.content(key).uri)
        with self.blobs.writer(limit) as writer:
            if len(sources) == 1:
                _pour(sources, writer, clock)
            else:
                with self._spooled(sources, limit, clock) as shards:
                    _join(sources, shards, limit, writer)
            fields, examples, form = read_header(writer.path, limit)
        try:
            self.datasets.arrived(key, writer.digest, writer.size, fields, examples, form)
        except NotFound:
            self.datasets.discard(writer.digest)
            raise
        dataset_arrived(self.connection, self.jobs, self.datasets, key, writer.digest)

    def _files(self, uri: str | None) -> Sequence[Source]:
        # Checked again: the operator may have allowed other places since.
        return self.sources.files(uri or "")

    @contextmanager
    def _spooled(self, sources: Sequence[Source], limit: int, clock: "_Clock") -> Iterator[list[Path]]:
        """The shards as local files, which together are no larger than the limit."""
        left = limit
        with ExitStack() as stack:
            paths = []
            for source in sources:
                path = stack.enter_context(self.blobs.draft())
                with path.open("wb") as file:
                    shard = Writer(file, path, left)
                    _pour([source], shard, clock)
                left -= shard.size
                paths.append(path)
            yield paths

    def _reject(self, kind: str, key: str, problem: Json) -> None:
        structlog.get_logger().warning("import rejected", kind=kind, key=key, code=problem["code"], detail=problem["detail"])
        try:
            (self.models if kind == "model" else self.datasets).reject_unread(key, problem)
        except NotFound:
            return
        if kind == "model":
            model_rejected(self.jobs, key, problem)
        else:
            dataset_rejected(self.jobs, key, problem)


class _Stopped(Exception):
    """The service ends; what was to be read still is."""


@dataclass(frozen=True)
class _Clock:
    """Asked now and then while bytes come in."""

    deadline: float
    stop: threading.Event

    def check(self) -> None:
        """Raises _Stopped, or _Refused when it takes too long."""
        if self.stop.is_set():
            raise _Stopped
        if time.monotonic() > self.deadline:
            raise _Refused("import_timed_out", "reading it took longer than the operator allows", retryable=True)


def _pour(sources: Sequence[Source], writer: Writer, clock: _Clock) -> None:
    for source in sources:
        for piece in source.pieces():
            clock.check()
            writer.write(piece)
    if writer.size == 0:
        raise _Refused("empty_body", f"{sources[0].name!r} is empty")


def _join(sources: Sequence[Source], shards: Sequence[Path], limit: int, writer: Writer) -> None:
    with ExitStack() as stack:
        tables = []
        for source, path in zip(sources, shards, strict=True):
            try:
                tables.append(stack.enter_context(open_table(path, limit)))
            except BadTable as error:
                raise BadTable(error.code, f"in {source.name!r}: {error.detail}") from error
        join([source.name for source in sources], tables, writer)


def _problem(error: Exception) -> Json:
    if isinstance(error, _Refused):
        return error.problem
    if isinstance(error, BadSource | BadTable):
        return _Refused(error.code, error.detail, retryable=error.code == "uri_unreadable").problem
    if isinstance(error, RefusedBody):
        return _Refused(error.code, error.detail).problem
    if isinstance(error, TooLarge):
        return _Refused("too_large", str(error)).problem
    if isinstance(error, Conflict):
        return _Refused("conflict", str(error), retryable=True).problem
    structlog.get_logger().error("unexpected error while importing", exc_info=error)
    return _Refused("internal", "the service failed while it read this; its log has the reason", retryable=True).problem
