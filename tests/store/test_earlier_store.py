"""A store of an earlier version: this version reads all its contents and runs its queued jobs.

`data/write_earlier_store.py.txt`, run in a clone of commit 2ee911a, made `data/earlier_store.json`.
"""

from pathlib import Path

import numpy as np
import pytest
import redis
from rq import Queue
from rq.serializers import JSONSerializer

from tests.support.earlier_store import EarlierStore, load
from unitrank_store.access.api_keys import KeyStore
from unitrank_store.blobs.blob_store import BlobStore
from unitrank_store.contents.datasets import DatasetStore
from unitrank_store.contents.models import ModelStore
from unitrank_store.jobs.job_store import JobStore
from unitrank_store.jobs.reservations import reserved
from unitrank_store.observability.snapshot import take_snapshot
from unitrank_store.queue.rq_queue import positions, queue_of
from unitrank_store.queue.safe_job import SafeJob
from unitrank_store.recovery.reaper import Reaper
from unitrank_store.results.result_store import ResultStore
from unitrank_store.settings import Settings
from unitrank_store.webhooks.deliveries import DeliveryStore


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(state=tmp_path)


@pytest.fixture
def earlier(connection: redis.Redis, tmp_path: Path) -> EarlierStore:
    """Load the earlier store into this test's server and folder."""
    return load(connection, tmp_path / "blobs")


def test_record_when_an_earlier_version_wrote_it_then_is_read_and_listed(connection: redis.Redis, earlier: EarlierStore) -> None:
    jobs = JobStore(connection, tenant="default")
    records, after = jobs.list()

    assert [(record.id, record.status) for record in records] == [(earlier.queued, "queued"), (earlier.done, "succeeded")]
    assert after is None
    assert records[0].request["layer"] == "1"
    assert jobs.list(model="net")[0] == records
    assert take_snapshot(connection).records["job"] == jobs_by_status(queued=1, succeeded=1)


def test_result_when_an_earlier_version_wrote_it_then_summary_and_arrays_are_read(
    connection: redis.Redis, earlier: EarlierStore, settings: Settings
) -> None:
    results = ResultStore(connection, BlobStore.of(settings), settings)
    location = JobStore(connection).get(earlier.done).result
    assert location is not None
    arrays = results.arrays(location)

    assert [ranking["method"]["name"] for ranking in results.summary(location)["rankings"]] == ["gradient"]
    assert all(np.isfinite(array).all() for array in arrays.values())
    assert {array.shape for name, array in arrays.items() if name.startswith("importance/")} == {(2, 4)}


def test_model_and_dataset_when_an_earlier_version_wrote_them_then_are_read(
    connection: redis.Redis, earlier: EarlierStore, settings: Settings
) -> None:
    blobs = BlobStore.of(settings)
    models = ModelStore(connection, blobs)
    model, unread = models.get("net"), models.get("early")

    assert (model.status, unread.status) == ("ready", "inspecting")
    assert [layer["name"] for layer in (model.manifest or {})["layers"]] == ["input", "0", "1", "2"]
    assert blobs.path(model.clean or "").is_file()
    assert DatasetStore(connection, blobs).get("data").examples == 20


def test_key_when_an_earlier_version_made_it_then_has_the_same_scopes(connection: redis.Redis, earlier: EarlierStore) -> None:
    key = KeyStore(connection).verify(earlier.secret)

    assert key is not None
    assert (key.name, key.scopes) == ("early", {"read", "write", "models"})
    assert JobStore(connection).unfinished(key.id) == 1


@pytest.mark.parametrize("kind", ["job", "inspection"])
def test_queue_when_an_earlier_version_filled_it_then_a_worker_takes_its_records(
    connection: redis.Redis, earlier: EarlierStore, kind: str
) -> None:
    records = JobStore(connection, kind="inspection" if kind == "inspection" else "job")
    (id,) = records.live()
    assert positions(connection, [records.get(id)], kind) == {id: 0}
    next_job = Queue.dequeue_any([queue_of(connection, kind)], None, connection, job_class=SafeJob, serializer=JSONSerializer)

    assert next_job is not None
    assert (next_job[0].record_id, next_job[0].attempt) == (id, 1)


def test_job_when_an_earlier_version_queued_it_then_ends_and_its_delivery_becomes_due(
    connection: redis.Redis, earlier: EarlierStore
) -> None:
    jobs, deliveries = JobStore(connection), DeliveryStore(connection)
    assert reserved(connection) > 0
    assert deliveries.take(now=1.0) is None
    attempt = jobs.start(earlier.queued, "worker")
    assert attempt == 1
    assert jobs.finish(earlier.queued, attempt, "succeeded", result={})
    due = deliveries.take(now=1.0)

    assert due is not None
    assert (due.job, due.delivery and due.delivery.url) == (earlier.queued, "https://example.org/hook")
    assert reserved(connection) == 0


def test_store_when_an_earlier_version_wrote_it_then_the_reaper_finds_nothing_lost(
    connection: redis.Redis, earlier: EarlierStore, settings: Settings
) -> None:
    before = set(connection.keys())
    reaper = Reaper(connection, settings)

    assert [reaper.sweep() for _ in range(2)] == [[], []]
    assert {key for key in before if not connection.exists(key)} <= {b"unitrank:workers"}


def jobs_by_status(**counts: int) -> dict[str, int]:
    return dict.fromkeys(("queued", "running", "cancelling", "succeeded", "failed", "cancelled", "timed_out"), 0) | counts
