"""Garbage collection: unneeded entries are deleted, and steps of killed processes are repeated."""

import numpy as np
import pytest
import redis

from tests.store.recovery.conftest import LASTING, uploaded
from tests.support.clock import Clock
from unitrank_store.blobs.blob_store import BlobStore
from unitrank_store.contents.datasets import DatasetStore
from unitrank_store.contents.models import ModelStore
from unitrank_store.contents.waiting_jobs import model_key
from unitrank_store.jobs.job_store import JobStore
from unitrank_store.queue.rq_queue import depth, inspection_id, transport_id, waiting_ids
from unitrank_store.recovery.garbage import GarbageCollection
from unitrank_store.redis import keyspace
from unitrank_store.results.result_store import ResultStore
from unitrank_store.settings import Settings
from unitrank_tables import encode_inline


@pytest.mark.parametrize(("end", "status"), [("ready", "queued"), ("rejected", "failed"), ("deleted", "failed")])
def test_job_when_its_model_ended_before_it_waited_then_is_released(
    connection: redis.Redis, jobs: JobStore, settings: Settings, garbage: GarbageCollection, clock: Clock, end: str, status: str
) -> None:
    models = ModelStore(connection, BlobStore.of(settings))
    digest = uploaded(settings)
    models.begin("m", digest, 5, "1")
    {
        "ready": lambda: models.ready(digest, {}, uploaded(settings, b"clean")),
        "rejected": lambda: models.reject(digest, {"code": "bad_archive"}),
        "deleted": lambda: models.delete("m"),
    }[end]()
    waits = jobs.create({}, waiting_for=[model_key(digest)])
    garbage.collect()
    assert (jobs.get(waits.id).status, depth(connection)) == ("queued", 0)
    clock.advance(LASTING)
    garbage.collect()

    assert jobs.get(waits.id).status == status
    assert depth(connection) == (status == "queued")


def test_model_when_it_is_not_the_newest_of_its_name_then_is_inspected_all_the_same(
    connection: redis.Redis, settings: Settings, garbage: GarbageCollection, clock: Clock
) -> None:
    models = ModelStore(connection, BlobStore.of(settings))
    first, second = uploaded(settings), uploaded(settings, b"another")
    for digest in (first, second):
        models.begin("m", digest, 5, "1")
    models.reject(second, {"code": "bad_archive"})
    garbage.collect()
    clock.advance(LASTING)
    garbage.collect()

    assert waiting_ids(connection, "inspection") == {transport_id(inspection_id(first), 0)}


def test_model_when_it_has_no_inspection_then_is_inspected(
    connection: redis.Redis, settings: Settings, garbage: GarbageCollection, clock: Clock
) -> None:
    ModelStore(connection, BlobStore.of(settings)).begin("m", uploaded(settings), 5, "1")
    garbage.collect()
    assert depth(connection, "inspection") == 0
    clock.advance(LASTING)
    garbage.collect()

    assert depth(connection, "inspection") == 1


def test_dataset_when_its_job_does_not_exist_then_is_released(
    connection: redis.Redis, jobs: JobStore, settings: Settings, garbage: GarbageCollection, clock: Clock
) -> None:
    datasets = DatasetStore(connection, BlobStore.of(settings))
    alive = jobs.create({}).id
    held = datasets.inline(encode_inline({"x": [[1.0]]}), holder=alive)
    datasets.inline(encode_inline({"x": [[2.0]]}), holder="gone")
    garbage.collect()
    assert len(datasets.holders()) == 2
    clock.advance(LASTING)
    garbage.collect()

    assert list(datasets.holders()) == [(held.digest, alive)]


@pytest.mark.parametrize(
    ("end", "is_kept"),
    [("none", True), ("published", True), ("cancelled", False), ("lost", False), ("run again", False), ("deleted", False)],
)
def test_result_when_stored_by_a_killed_process_then_is_kept_only_if_its_record_may_name_it(
    connection: redis.Redis, jobs: JobStore, settings: Settings, garbage: GarbageCollection, end: str, is_kept: bool
) -> None:
    results = ResultStore(connection, BlobStore.of(settings), settings)
    id = jobs.create({}).id
    attempt = jobs.start(id, "a") or 0
    location = results.put({"s": 1}, {"x": np.zeros(3)}, id, attempt)
    {
        "none": lambda: None,
        "published": lambda: jobs.finish(id, attempt, "succeeded", result=dict(location)),
        "cancelled": lambda: jobs.finish(id, attempt, "cancelled"),
        "lost": lambda: jobs.requeue(id, attempt),
        "run again": lambda: (jobs.requeue(id, attempt), jobs.start(id, "b")),
        "deleted": lambda: (jobs.finish(id, attempt, "cancelled"), jobs.delete(id)),
    }[end]()
    garbage.collect()

    assert bool(connection.exists(keyspace.chunked(location["arrays"]))) == is_kept
    assert len(results.unpublished()) == (end == "none")
