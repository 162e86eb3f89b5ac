"""Imports models and datasets from a URI into the blob store, in threads of the service.

The store holds the list of imports, so that each service can do each import. A content is imported
completely or not at all. After a service is killed during an import, a service starts the import
again. After `MOST_ATTEMPTS` lost services the import is rejected.

    unread ──▶ imported     the content has a digest; jobs that waited for it are queued
           ├─▶ rejected     the content is invalid or unreadable; jobs that waited for it fail
           └─▶ deleted      the name was deleted or uploaded again; the import ends without a result
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
from unitrank_service.contents.fetching import DeadlineWriter, FetchDeadline, FetchStopped, ImportRejected, copy, run_in_time
from unitrank_service.contents.model_formats import check_bytes_of
from unitrank_service.contents.representation import read_header
from unitrank_service.contents.shard_headers import index_in_place
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
from unitrank_store.full import full_reason
from unitrank_store.jobs.job_store import JobStore
from unitrank_store.queue.rq_queue import enqueue_inspection
from unitrank_store.redis import keyspace
from unitrank_store.redis.leases import lease
from unitrank_store.settings import Settings
from unitrank_tables import Shard, join
from unitrank_tables.errors import BadTable
from unitrank_tables.sharded.index import INDEX_LIMIT, ShardIndex

LOOK_SECONDS = 2.0
"""Seconds after which an idle thread looks again for imports that another service left."""
MOST_ATTEMPTS = 3
Stage = Literal["unread", "imported", "rejected", "deleted"]


@dataclass
class Importer:
    """Does the imports of one store. Nothing happens before `run`."""

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
        """Do one import after another until `stop` is set."""
        self._loop.run(stop, lambda: self.read_next(stop), lambda: LOOK_SECONDS)

    def read_next(self, stop: threading.Event) -> bool:
        """Do one import that no other thread does. Returns False without such an import."""
        for kind, catalogue in (("model", self.models), ("dataset", self.datasets)):
            for key in catalogue.unread():
                with lease(self.connection, keyspace.import_lock(key)) as has_lease:
                    if has_lease and not stop.is_set():
                        self._import(kind, key, stop)
                        return True
        return False

    def wake(self) -> None:
        """Let an idle thread look now: there is a new import, or the service ends."""
        self._loop.wake()

    def _import(self, kind: str, key: str, stop: threading.Event) -> None:
        log = structlog.get_logger().bind(kind=kind, key=key)
        catalogue = self._catalogue(kind)
        started = time.monotonic()
        outcome: Literal["imported", "rejected", "dropped"] = "dropped"
        try:
            stage = self._stage(kind, key)
            if stage == "unread":
                self._count_attempt(key)
                deadline = FetchDeadline(
                    started, self.settings.import_timeout, stop, lambda: self._stage(kind, key) in ("unread", "imported")
                )
                run_in_time(deadline, lambda: self._fetch(kind, key, deadline))
                outcome = "imported"
            if stage != "deleted":
                self._release_jobs(kind, key)
        except RecordNotFound:
            log.info("import dropped", reason="the content was deleted or replaced")
        except FetchStopped:
            log.info("import stopped", reason="the service ends; another service starts the import again")
            self.connection.srem(keyspace.import_attempts(key), self._service)
            self.metrics.imported(kind, "left")
            return
        except redis.exceptions.RedisError:
            raise
        except Exception as error:
            self._reject(kind, key, _problem(kind, error))
            outcome = "rejected"
        catalogue.finish_import(key)
        log.info("import ended", outcome=outcome, seconds=round(time.monotonic() - started, 3))
        self.metrics.imported(kind, outcome)

    def _catalogue(self, kind: str) -> ModelStore | DatasetStore:
        return self.models if kind == "model" else self.datasets

    def _stage(self, kind: str, key: str) -> Stage:
        """The stage of the import. A service may have been lost after any stage."""
        catalogue = self._catalogue(kind)
        if catalogue.imported_digest(key) is not None:
            return "imported"
        try:
            return "rejected" if catalogue.content(key).status == "rejected" else "unread"
        except RecordNotFound:
            return "deleted"

    def _fetch(self, kind: str, key: str, deadline: FetchDeadline) -> None:
        if kind == "model":
            self._fetch_model(key, deadline)
        else:
            self._fetch_dataset(key, deadline)

    def _release_jobs(self, kind: str, key: str) -> None:
        """Queue the jobs that waited for the content, or fail them if the content was rejected.

        Repeating the call changes nothing.
        """
        digest = self._catalogue(kind).imported_digest(key)
        if digest is None:
            self._fail_jobs(kind, key, self._catalogue(kind).content(key).problem or {})
        elif kind == "dataset":
            dataset_arrived(self.connection, self.jobs, key)
        else:
            model = self.models.content(digest)
            if model.status == "inspecting":
                enqueue_inspection(self.connection, model, self.settings)
            model_arrived(self.connection, self.jobs, self.models, key, digest)

    def _count_attempt(self, key: str) -> None:
        """Count this service as one that started the import.

        A service that stops properly removes itself: the other services in the count were lost. If
        the same service repeats an attempt after an outage of the store, the count stays the same.
        Raises ImportRejected after `MOST_ATTEMPTS` lost services.
        """
        attempts = keyspace.import_attempts(key)
        self.connection.sadd(attempts, self._service)
        self.connection.expire(attempts, 24 * 3600)
        if int(self.connection.scard(attempts)) > MOST_ATTEMPTS:
            detail = f"the service was lost during {MOST_ATTEMPTS} attempts to import the content; PUT it again to start another"
            raise ImportRejected("import_failed", detail)

    def _fetch_model(self, key: str, deadline: FetchDeadline) -> None:
        model = self.models.content(key)
        (source,) = self.sources.files(model.uri or "")
        with self._writer(self.settings.max_model_bytes) as writer:
            copy(source, writer, deadline)
            check_bytes_of(model.format, writer.path)
        deadline.check()
        with self._discarded_if_deleted(self.models, writer.digest):
            repoint = partial(repoint_to_model, self.jobs, key)
            named = self.models.arrived(key, writer.digest, writer.size, repoint)
        if named.inspect:
            enqueue_inspection(self.connection, named.record, self.settings)

    def _fetch_dataset(self, key: str, deadline: FetchDeadline) -> None:
        limit = self.settings.max_dataset_bytes
        # `files` checks the URI again, because UNITRANK_SOURCES may have changed since the PUT.
        uri = self.datasets.content(key).uri or ""
        sources = self.sources.files(uri)
        stays = self.sources.stays_in_place(uri)
        index = index_in_place(sources, deadline) if stays else None
        if index is not None:
            self._store_index(key, index, deadline)
            return
        with self._writer(limit) as writer:
            if len(sources) == 1:
                copy(sources[0], writer, deadline)
            else:
                with self._downloaded(sources, limit, deadline) as shards:
                    join(shards, DeadlineWriter(writer, deadline), limit)
            fields, examples, form = read_header(writer.path, limit)
        deadline.check()
        with self._discarded_if_deleted(self.datasets, writer.digest):
            repoint = partial(repoint_to_dataset, self.jobs, key)
            self.datasets.arrived(key, writer.digest, writer.size, fields, examples, form, repoint, copied=stays)

    def _store_index(self, key: str, index: ShardIndex, deadline: FetchDeadline) -> None:
        with self._writer(INDEX_LIMIT) as writer:
            writer.write(index.to_bytes())
        deadline.check()
        with self._discarded_if_deleted(self.datasets, writer.digest):
            repoint = partial(repoint_to_dataset, self.jobs, key)
            self.datasets.arrived(key, writer.digest, index.stored_bytes, index.fields, index.rows, "shards", repoint)

    @contextmanager
    def _writer(self, limit: int) -> Iterator[BlobWriter]:
        """A writer of at most `limit` bytes.

        Raises SizeExceeded beyond the limit, and Full beyond the quota.
        """
        bytes_left = self.datasets.room()
        try:
            with self.blobs.writer(limit if bytes_left is None else min(limit, bytes_left)) as writer:
                yield writer
        except SizeExceeded as error:
            if bytes_left is not None and bytes_left < limit:
                raise Full(f"{bytes_left} bytes of the quota are left: delete models or datasets first") from error
            raise

    @contextmanager
    def _discarded_if_deleted(self, catalogue: ModelStore | DatasetStore, digest: str) -> Iterator[None]:
        """Remove the blob if the block raises RecordNotFound: its content was deleted."""
        try:
            yield
        except RecordNotFound:
            catalogue.discard(digest)
            raise

    @contextmanager
    def _downloaded(self, sources: Sequence[Source], limit: int, deadline: FetchDeadline) -> Iterator[list[Shard]]:
        """Yield the shards as local files of at most `limit` bytes together; delete them after."""
        bytes_left = limit
        with ExitStack() as stack:
            shards = []
            for source in sources:
                path = stack.enter_context(self.blobs.draft())
                with path.open("wb") as file:
                    writer = BlobWriter(file, path, bytes_left)
                    copy(source, writer, deadline)
                bytes_left -= writer.size
                shards.append(Shard(source.name, path))
            yield shards

    def _reject(self, kind: str, key: str, problem: Json) -> None:
        structlog.get_logger().warning("import rejected", kind=kind, key=key, code=problem["code"], detail=problem["detail"])
        with suppress(RecordNotFound):
            self._catalogue(kind).reject_unread(key, problem)
            self._fail_jobs(kind, key, problem)

    def _fail_jobs(self, kind: str, key: str, problem: Json) -> None:
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
    if reason := full_reason(error):
        return ImportRejected("store_full", f"the store is full: {reason}", retryable=True).problem
    if isinstance(error, StateConflict):
        return ImportRejected("conflict", str(error), retryable=True).problem
    structlog.get_logger().error("unexpected error during an import", exc_info=error)
    detail = "the import failed because of an error in the service; the operator finds the reason in the log"
    return ImportRejected("internal", detail, retryable=True).problem
