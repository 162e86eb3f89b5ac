"""What is left over: expired ids and results, datasets of jobs that are gone, inspections that nobody asked for, jobs that
wait for what has long been there.

RQ's own memory of executions that were given up is cleaned too: it has no worker that would do it while all are busy.
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
from unitrank_store.contents.waiting_jobs import look_again
from unitrank_store.errors import RecordNotFound
from unitrank_store.jobs.job_store import JobStore
from unitrank_store.jobs.record import ENDED
from unitrank_store.jobs.records import KINDS, Kind
from unitrank_store.jobs.reservations import recount
from unitrank_store.queue.rq_queue import enqueue_inspection, inspection_id, queue_of, record_ids, waiting_ids
from unitrank_store.recovery.debounce import Debounce
from unitrank_store.results.result_store import ResultStore
from unitrank_store.settings import Settings

log = structlog.get_logger()

BLOB_SECONDS = 3600.0


class GarbageCollection:
    """One process at a time calls `collect` now and then. `clock`: seconds."""

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
        """One round of everything."""
        for part in (
            self._forget_executions,
            self._forget_expired,
            self._recount_reservations,
            self._results.sweep,
            self._take_unpublished,
            self._blobs.sweep,
            self._sweep_blobs,
            self._release_datasets,
            self._inspect_forgotten,
            self._look_at_waiting,
        ):
            try:
                part()
            except (redis.exceptions.ConnectionError, redis.exceptions.TimeoutError):
                raise
            except Exception:
                # One thing that cannot be cleaned must not keep all others from it.
                log.exception("cleaning failed", part=part.__name__)
        self._debounce.end_round()

    def _forget_executions(self) -> None:
        for kind in self._records:
            queue_of(self._redis, kind).started_job_registry.cleanup()

    def _forget_expired(self) -> None:
        for jobs in self._records.values():
            jobs.forget_expired()

    def _recount_reservations(self) -> None:
        recount(self._redis)

    def _sweep_blobs(self) -> None:
        # It lists the whole store, and what it looks for is a day old.
        if self._clock() >= self._next_sweep:
            self._owners.forget_unowned()
            self._next_sweep = self._clock() + BLOB_SECONDS

    def _take_unpublished(self) -> None:
        # Whoever stored it was killed before the job's end, or right after it.
        for job, attempt, manifest in self._results.unpublished():
            state = self._records["job"].state(job)
            mine = state is not None and state.attempt == attempt
            if state is None or not mine or state.status not in ("running", "cancelling"):
                self._results.settle(manifest, published=mine and state is not None and state.status == "succeeded")

    def _release_datasets(self) -> None:
        # A dataset inside a request is held for a job that is created a moment later.
        for digest, job in self._datasets.holders():
            if self._is_over("job", job) and self._lasts("dataset", job):
                self._datasets.release(digest, job)

    def _inspect_forgotten(self) -> None:
        for model in self._inspecting():
            if self._is_over("inspection", inspection_id(model.digest)) and self._lasts("model", model.digest):
                enqueue_inspection(self._redis, model.digest, self._settings.inspection_timeout)

    def _look_at_waiting(self) -> None:
        # What became ready between a job's look at it and its wait for it, where whoever would have looked again was killed.
        jobs = self._records["job"]
        in_queue = record_ids(waiting_ids(self._redis, "job"))
        live = jobs.live(unless_queued=in_queue)
        waiting = [state for id, state in live.items() if state.waiting_for and self._lasts("waiting", id)]
        for content_key in sorted({content_key for state in waiting for content_key in state.waiting_for}):
            look_again(self._redis, jobs, self._models, self._datasets, [content_key])

    def _inspecting(self) -> Iterator[ModelRecord]:
        """Whatever its name means by now: jobs may wait for an earlier content."""
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
                    # An earlier content is inspected anew only after it has become the newest again.
                    self._inspected.add(digest)

    def _is_over(self, kind: Kind, id: str) -> bool:
        state = self._records[kind].state(id)
        return state is None or state.status in ENDED

    def _lasts(self, what: str, id: str) -> bool:
        return self._debounce.lasts((what, id), self._settings.heartbeat_grace)
