"""Garbage collection: the store's repairs that are not urgent.

A collection removes expired ids and results, and datasets of jobs that have ended. It also queues
the inspections that a killed process did not queue, and releases jobs whose model or dataset is
ready. RQ's registry of running executions is cleaned too: a busy RQ worker does not clean it.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import suppress

import redis
import structlog

from unitrank_store.blobs.blob_store import BlobStore
from unitrank_store.blobs.ownership import BlobOwners
from unitrank_store.contents.datasets import DatasetStore
from unitrank_store.contents.importing import UNREAD
from unitrank_store.contents.models import ModelRecord, ModelStore
from unitrank_store.contents.waiting_jobs import recheck
from unitrank_store.errors import RecordNotFound
from unitrank_store.jobs.job_store import JobStore
from unitrank_store.jobs.record import ENDED
from unitrank_store.jobs.records import KINDS, Kind
from unitrank_store.jobs.reservations import recount
from unitrank_store.queue.rq_queue import enqueue_inspection, inspection_id, queue_of, record_ids, waiting_ids
from unitrank_store.recovery.debounce import Debounce
from unitrank_store.results.result_store import ResultStore
from unitrank_store.settings import Settings
from unitrank_store.unavailable import unavailable_reason

log = structlog.get_logger()

BLOB_SECONDS = 3600.0
"""Seconds between two searches for blobs without an owner."""


class GarbageCollection:
    """Garbage collection of one store; only one process at a time may call `collect`.

    `clock`: returns seconds, such as time.monotonic.
    """

    def __init__(self, connection: redis.Redis, settings: Settings, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._blobs = BlobStore.of(settings)
        self._redis = connection
        self._settings = settings
        self._records = {kind: JobStore.of(connection, settings, kind=kind) for kind in KINDS}
        self._models = ModelStore(connection, self._blobs)
        self._datasets = DatasetStore(connection, self._blobs)
        self._results = ResultStore(connection, self._blobs, settings)
        self._owners = BlobOwners(connection, self._blobs)
        self._debounce = Debounce(clock)
        self._inspected: set[str] = set()
        self._next_sweep = clock() + BLOB_SECONDS

    def collect(self) -> None:
        """Do all steps once. A step that fails is logged.

        Raises the error of a store that cannot serve.
        """
        for step in (
            self._forget_executions,
            self._forget_expired,
            self._recount_reservations,
            self._results.sweep,
            self._settle_unpublished,
            self._blobs.sweep,
            self._delete_unowned_blobs,
            self._release_datasets,
            self._queue_missing_inspections,
            self._release_waiting_jobs,
        ):
            try:
                step()
            except Exception as error:
                if unavailable_reason(error):
                    raise
                # The other steps must still run.
                log.exception("cleaning failed", part=step.__name__)
        self._debounce.end_round()

    def _forget_executions(self) -> None:
        for kind in self._records:
            queue_of(self._redis, kind).started_job_registry.cleanup()

    def _forget_expired(self) -> None:
        for jobs in self._records.values():
            jobs.forget_expired()

    def _recount_reservations(self) -> None:
        recount(self._redis)

    def _delete_unowned_blobs(self) -> None:
        # Only once an hour: this step lists all blobs, and deletes only those that are a day old.
        if self._clock() >= self._next_sweep:
            self._owners.forget_unowned()
            self._next_sweep = self._clock() + BLOB_SECONDS

    def _settle_unpublished(self) -> None:
        # The process that stored the result was killed: before it ended the job, or right after.
        for job, attempt, location in self._results.unpublished():
            state = self._records["job"].state(job)
            same_attempt = state is not None and state.attempt == attempt
            if state is None or not same_attempt or state.status not in ("running", "cancelling"):
                self._results.settle(location, published=same_attempt and state is not None and state.status == "succeeded")

    def _release_datasets(self) -> None:
        # A dataset inside a request is stored just before its job is created. So a missing job
        # counts as ended only after `heartbeat_grace`.
        for digest, job in self._datasets.holders():
            if self._has_ended("job", job) and self._lasts("dataset", job):
                self._datasets.release(digest, job)

    def _queue_missing_inspections(self) -> None:
        # The process that stored the model was killed before it queued the inspection.
        for model in self._inspecting():
            if self._has_ended("inspection", inspection_id(model.digest)) and self._lasts("model", model.digest):
                enqueue_inspection(self._redis, model, self._settings)

    def _release_waiting_jobs(self) -> None:
        # A content became ready just before the job began to wait for it. The process that created
        # the job was killed before it called `recheck`.
        jobs = self._records["job"]
        in_queue = record_ids(waiting_ids(self._redis, "job"))
        live = jobs.live(unless_queued=in_queue)
        waiting = [state for id, state in live.items() if state.waiting_for and self._lasts("waiting", id)]
        for content_key in sorted({content_key for state in waiting for content_key in state.waiting_for}):
            recheck(self._redis, jobs, self._models, self._datasets, [content_key])

    def _inspecting(self) -> Iterator[ModelRecord]:
        """Yield the models whose inspection has not ended, also those that are not a name's newest.

        Jobs may wait for an earlier content of a name too.
        """
        digests = self._models.digests_of_all()
        self._inspected &= digests
        newest = {model.digest for model in self._models.newest_of_all()}
        for digest in sorted(newest | digests - self._inspected):
            if digest.startswith(UNREAD):
                continue
            with suppress(RecordNotFound):
                model = self._models.content(digest)
                if model.status == "inspecting":
                    yield model
                else:
                    # An earlier content is not read again: its next inspection begins only when it
                    # is uploaded again, and then it is the newest.
                    self._inspected.add(digest)

    def _has_ended(self, kind: Kind, id: str) -> bool:
        """Return whether the record has ended or does not exist."""
        state = self._records[kind].state(id)
        return state is None or state.status in ENDED

    def _lasts(self, finding: str, id: str) -> bool:
        return self._debounce.lasts((finding, id), self._settings.heartbeat_grace)
