"""Models and datasets that lie elsewhere: read into the blob store, whole or not at all, by threads of the service.

What is to be read stands in the store. A service that is killed while it reads leaves nothing; another one, or the same
after its restart, begins anew, three times at most.
"""

import secrets
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Literal

import redis
import structlog

from unitrank_schemas.base import Json
from unitrank_service.background.polling import PollingLoop
from unitrank_service.contents.fetching import DeadlineWriter, FetchDeadline, FetchStopped, ImportRejected, in_time, pour
from unitrank_service.contents.model_formats import check_bytes_of
from unitrank_service.contents.representation import read_header
from unitrank_service.errors import InvalidBody
from unitrank_service.observability.metrics import Metrics
from unitrank_store.blobs.blob_store import BlobStore, BlobWriter
from unitrank_store.blobs.sources import Source, Sources
from unitrank_store.contents.datasets import DatasetStore
from unitrank_store.contents.models import ModelStore
from unitrank_store.contents.waiting_jobs import (
    dataset_arrived,
    dataset_rejected,
    model_arrived,
    model_rejected,
    repoint_to_dataset,
    repoint_to_model,
)
from unitrank_store.errors import BadSource, Full, RecordNotFound, SizeExceeded, StateConflict
from unitrank_store.jobs.job_store import JobStore
from unitrank_store.queue.rq_queue import enqueue_inspection
from unitrank_store.redis import keyspace
from unitrank_store.redis.leases import lease
from unitrank_store.settings import Settings
from unitrank_tables import Shard, join
from unitrank_tables.errors import BadTable

LOOK_SECONDS = 2.0
MOST_ATTEMPTS = 3
Stage = Literal["new", "arrived", "rejected", "gone"]


@dataclass
class Importer:
    """Nothing is read before `run`; `wake` has it look at once."""

    connection: redis.Redis
    settings: Settings
    sources: Sources
    blobs: BlobStore
    models: ModelStore
    datasets: DatasetStore
    jobs: JobStore
    metrics: Metrics
    _service: str = field(default_factory=lambda: secrets.token_hex(8))
    _loop: PollingLoop = field(default_factory=lambda: PollingLoop("imports"))

    def run(self, stop: threading.Event) -> None:
        """Read whatever is to be read until told to stop."""
        self._loop.run(stop, lambda: self.read_next(stop), lambda: LOOK_SECONDS)

    def read_next(self, stop: threading.Event) -> bool:
        """Read one of what nobody else reads; False where there is none."""
        for kind, catalogue in (("model", self.models), ("dataset", self.datasets)):
            for key in catalogue.unread():
                with lease(self.connection, keyspace.import_lock(key)) as mine:
                    if mine and not stop.is_set():
                        self._read(kind, key, stop)
                        return True
        return False

    def wake(self) -> None:
        """There is something new to read, or it is time to stop."""
        self._loop.wake()

    def _read(self, kind: str, key: str, stop: threading.Event) -> None:
        log = structlog.get_logger().bind(kind=kind, key=key)
        catalogue = self._catalogue(kind)
        begun = time.monotonic()
        outcome: Literal["imported", "rejected", "dropped"] = "dropped"
        try:
            stage = self._stage(kind, key)
            if stage == "new":
                self._count_attempt(key)
                deadline = FetchDeadline(
                    begun + self.settings.import_timeout, stop, lambda: self._stage(kind, key) in ("new", "arrived")
                )
                in_time(deadline, lambda: self._bring(kind, key, deadline))
                outcome = "imported"
            if stage != "gone":
                self._let_go(kind, key)
        except RecordNotFound:
            log.info("import not wanted any more")
        except FetchStopped:
            log.info("import left for another start")
            self.connection.srem(keyspace.import_attempts(key), self._service)
            self.metrics.imported(kind, "left")
            return
        except redis.exceptions.RedisError:
            raise
        except Exception as error:
            self._reject(kind, key, _problem(kind, error))
            outcome = "rejected"
        catalogue.finish_import(key)
        log.info("import ended", outcome=outcome, seconds=round(time.monotonic() - begun, 3))
        self.metrics.imported(kind, outcome)

    def _catalogue(self, kind: str) -> ModelStore | DatasetStore:
        return self.models if kind == "model" else self.datasets

    def _stage(self, kind: str, key: str) -> Stage:
        """How far it is; whoever read it before may have been lost at any of them."""
        catalogue = self._catalogue(kind)
        if catalogue.became(key) is not None:
            return "arrived"
        try:
            return "rejected" if catalogue.content(key).status == "rejected" else "new"
        except RecordNotFound:
            return "gone"

    def _bring(self, kind: str, key: str, deadline: FetchDeadline) -> None:
        if kind == "model":
            self._bring_model(key, deadline)
        else:
            self._bring_dataset(key, deadline)

    def _let_go(self, kind: str, key: str) -> None:
        """Those that waited go on, or fail with what was rejected; done twice, it is done once."""
        digest = self._catalogue(kind).became(key)
        if digest is None:
            self._refuse(kind, key, self._catalogue(kind).content(key).problem or {})
        elif kind == "dataset":
            dataset_arrived(self.connection, self.jobs, key)
        else:
            if self.models.content(digest).status == "inspecting":
                enqueue_inspection(self.connection, digest, self.settings.inspection_timeout)
            model_arrived(self.connection, self.jobs, self.models, key, digest)

    def _count_attempt(self, key: str) -> None:
        """One for each service that began with it and did not come back: an outage of the store is no loss of a service."""
        attempts = keyspace.import_attempts(key)
        self.connection.sadd(attempts, self._service)
        self.connection.expire(attempts, 24 * 3600)
        if int(self.connection.scard(attempts)) > MOST_ATTEMPTS:
            detail = f"the service was lost {MOST_ATTEMPTS} times while it read this; it is not tried again"
            raise ImportRejected("import_failed", detail)

    def _bring_model(self, key: str, deadline: FetchDeadline) -> None:
        model = self.models.content(key)
        (source,) = self.sources.files(model.uri or "")
        with self._writer(self.settings.max_model_bytes) as writer:
            pour(source, writer, deadline)
            check_bytes_of(model.format, writer.path)
        deadline.check()
        with self._kept_if_wanted(self.models, writer.digest):
            repoint = partial(repoint_to_model, self.jobs, key)
            begun = self.models.arrived(key, writer.digest, writer.size, repoint)
        if begun.inspect:
            enqueue_inspection(self.connection, begun.record.digest, self.settings.inspection_timeout)

    def _bring_dataset(self, key: str, deadline: FetchDeadline) -> None:
        limit = self.settings.max_dataset_bytes
        # Checked again: the operator may have allowed other places since.
        sources = self.sources.files(self.datasets.content(key).uri or "")
        with self._writer(limit) as writer:
            if len(sources) == 1:
                pour(sources[0], writer, deadline)
            else:
                with self._spooled(sources, limit, deadline) as shards:
                    join(shards, DeadlineWriter(writer, deadline), limit)
            fields, examples, form = read_header(writer.path, limit)
        deadline.check()
        with self._kept_if_wanted(self.datasets, writer.digest):
            repoint = partial(repoint_to_dataset, self.jobs, key)
            self.datasets.arrived(key, writer.digest, writer.size, fields, examples, form, repoint)

    @contextmanager
    def _writer(self, limit: int) -> Iterator[BlobWriter]:
        """Raises SizeExceeded past the limit, and Full past the quota."""
        room = self.datasets.room()
        try:
            with self.blobs.writer(limit if room is None else min(limit, room)) as writer:
                yield writer
        except SizeExceeded as error:
            if room is not None and room < limit:
                raise Full(f"{room} bytes of the quota are left; delete what is not needed") from error
            raise

    @contextmanager
    def _kept_if_wanted(self, catalogue: ModelStore | DatasetStore, digest: str) -> Iterator[None]:
        try:
            yield
        except RecordNotFound:
            catalogue.discard(digest)
            raise

    @contextmanager
    def _spooled(self, sources: Sequence[Source], limit: int, deadline: FetchDeadline) -> Iterator[list[Shard]]:
        """The shards as local files, which together are no larger than the limit."""
        left = limit
        with ExitStack() as stack:
            shards = []
            for source in sources:
                path = stack.enter_context(self.blobs.draft())
                with path.open("wb") as file:
                    writer = BlobWriter(file, path, left)
                    pour(source, writer, deadline)
                left -= writer.size
                shards.append(Shard(source.name, path))
            yield shards

    def _reject(self, kind: str, key: str, problem: Json) -> None:
        structlog.get_logger().warning("import rejected", kind=kind, key=key, code=problem["code"], detail=problem["detail"])
        with suppress(RecordNotFound):
            self._catalogue(kind).reject_unread(key, problem)
            self._refuse(kind, key, problem)

    def _refuse(self, kind: str, key: str, problem: Json) -> None:
        (model_rejected if kind == "model" else dataset_rejected)(self.jobs, key, problem)


def _problem(kind: str, error: Exception) -> Json:
    if isinstance(error, ImportRejected):
        return error.problem
    if isinstance(error, BadSource | BadTable):
        return ImportRejected(error.code, error.detail, retryable=error.code == "uri_unreadable").problem
    if isinstance(error, InvalidBody):
        return ImportRejected(error.code, error.detail).problem
    if isinstance(error, SizeExceeded):
        return ImportRejected(f"{kind}_too_large", str(error)).problem
    if isinstance(error, Full):
        return ImportRejected("store_full", str(error), retryable=True).problem
    if isinstance(error, StateConflict):
        return ImportRejected("conflict", str(error), retryable=True).problem
    structlog.get_logger().error("unexpected error while importing", exc_info=error)
    return ImportRejected("internal", "the service failed while it read this; its log has the reason", retryable=True).problem
