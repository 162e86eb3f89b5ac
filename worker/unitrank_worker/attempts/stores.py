"""The stores that attempts read and write."""

from dataclasses import dataclass, field

import redis

from unitrank_store.blobs.blob_store import BlobStore
from unitrank_store.contents.datasets import DatasetStore
from unitrank_store.contents.models import ModelRecord, ModelStore
from unitrank_store.errors import RecordNotFound
from unitrank_store.jobs.job_store import JobStore
from unitrank_store.observability.counters import Counters
from unitrank_store.observability.throughput import Throughput
from unitrank_store.results.part_cache import PartCache
from unitrank_store.results.result_store import ResultStore
from unitrank_worker.attempts.device_memory import DeviceMemory
from unitrank_worker.newer_records import NewerRecords

MOST_READY = 32
"""Number of models' records that are kept in memory; a manifest can have megabytes."""
MOST_DATASETS = 10_000
"""Number of datasets of which is remembered whether they were copied from shards."""
MOST_ARCHIVE_BYTES = 16 << 30


@dataclass
class Stores:
    """The stores that attempts read and write.

    `jobs`: the records of the worker's kind. `waiting`: the records of jobs that wait for a model.
    `distribute_seconds`: estimated seconds of a job from which it is divided between the nodes of a
    Ray cluster; None if the worker has no Ray.
    `most_archive_bytes`: the inspection of a model fails if its cleaned archive is larger.
    """

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
    memory: DeviceMemory
    most_archive_bytes: int = MOST_ARCHIVE_BYTES
    distribute_seconds: float | None = None
    ready_models: dict[str, ModelRecord] = field(default_factory=dict)
    newer_records: NewerRecords = field(default_factory=NewerRecords)
    copied: dict[str, bool] = field(default_factory=dict)
    """Digest → whether the dataset was copied from shards."""

    def model(self, digest: str) -> ModelRecord | None:
        """The model's record; None if it was deleted. The record of a ready model is read once."""
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

    def is_copied(self, digest: str) -> bool:
        """Whether the dataset was copied from shards that cannot be read in place."""
        if digest not in self.copied:
            try:
                copied = DatasetStore(self.connection, self.blobs).content(digest).copied
            except RecordNotFound:
                return False
            if len(self.copied) >= MOST_DATASETS:
                self.copied.clear()
            self.copied[digest] = copied
        return self.copied[digest]
