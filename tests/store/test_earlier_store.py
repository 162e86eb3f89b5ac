"""Stores of earlier versions: this version reads all their contents and runs their queued jobs.

`data/write_earlier_store.py.txt`, run in a clone of commit 2ee911a, made `data/earlier_store.json`.
`data/write_recorded_store.py.txt` made `data/recorded_store.json` with commit eb0625d.
"""

import json
from pathlib import Path

import numpy as np
import pytest
import redis
from rq import Queue
from rq.serializers import JSONSerializer

from tests.support.earlier_store import EARLIEST, RECORDED, EarlierStore, load
from unitrank_schemas.jobs.options import known_options
from unitrank_store.access.api_keys import KeyStore
from unitrank_store.access.sessions import SessionStore
from unitrank_store.blobs.blob_store import BlobStore
from unitrank_store.contents.datasets import DatasetStore
from unitrank_store.contents.models import ModelStore
from unitrank_store.jobs.idempotency import IdempotencyKey
from unitrank_store.jobs.job_store import JobStore
from unitrank_store.jobs.reservations import reserved
from unitrank_store.observability.snapshot import take_snapshot
from unitrank_store.queue.rq_queue import positions, queue_of
from unitrank_store.queue.safe_job import SafeJob
from unitrank_store.recovery.reaper import Reaper
from unitrank_store.redis import keyspace
from unitrank_store.results.part_cache import PartCache
from unitrank_store.results.result_store import ResultStore
from unitrank_store.settings import Settings
from unitrank_store.webhooks.deliveries import AttemptRecord, DeliveryStore
from unitrank_store.worker_registry import WorkerRegistry


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(state=tmp_path)


@pytest.fixture(params=[EARLIEST, RECORDED], ids=["2ee911a", "eb0625d"])
def earlier(connection: redis.Redis, tmp_path: Path, request: pytest.FixtureRequest) -> EarlierStore:
    """Load an earlier store into this test's server and folder."""
    return load(connection, tmp_path / "blobs", request.param)


@pytest.fixture
def recorded(connection: redis.Redis, tmp_path: Path) -> EarlierStore:
    """Load the store of commit eb0625d, which has keys that the earliest store lacks."""
    return load(connection, tmp_path / "blobs", RECORDED)


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
    assert JobStore(connection).demand(key.id).unfinished == 1


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


def test_heartbeats_when_an_earlier_version_wrote_them_then_are_read(connection: redis.Redis, recorded: EarlierStore) -> None:
    workers = WorkerRegistry(connection).list()

    assert [(worker.name, worker.queue, worker.device) for worker in workers] == [
        ("inspections", "unitrank-inspections", "cpu"),
        ("jobs", "unitrank-jobs", "cpu"),
    ]


def test_session_and_idempotency_key_when_an_earlier_version_wrote_them_then_are_valid(
    connection: redis.Redis, recorded: EarlierStore
) -> None:
    keys = KeyStore(connection)
    key = SessionStore(connection, keys).key(recorded.session or "")
    assert key is not None
    digest = IdempotencyKey.of("recorded", caller=key.id, body="").key
    (entry,) = (json.loads(connection.get(keyspace.idempotency(each)) or "{}") for each in [digest])

    assert key == keys.verify(recorded.secret)
    assert entry["job"] == recorded.done


def test_delivery_when_an_earlier_version_tried_it_then_has_its_attempts_and_is_due_again(
    connection: redis.Redis, recorded: EarlierStore
) -> None:
    deliveries = DeliveryStore(connection)
    (tried,) = deliveries.of(recorded.done)
    due = deliveries.take(now=4e9 + 1)

    assert tried.attempts[0] == AttemptRecord(1.5, None, "no answer", 0.25)
    assert due is not None
    assert due.delivery == tried


def test_parts_when_an_earlier_version_kept_them_then_are_read(
    connection: redis.Redis, recorded: EarlierStore, settings: Settings
) -> None:
    ids = [name.decode() for name in connection.zrange(keyspace.part_ages(), 0, -1)]

    assert ids
    assert set(PartCache(connection, settings).get(ids)) == set(ids)


def test_record_when_commit_eb0625d_wrote_it_then_names_its_version_and_options(
    connection: redis.Redis, recorded: EarlierStore
) -> None:
    record = JobStore(connection).get(recorded.queued)

    assert record.format == 1
    assert set(record.resolved["options"]) <= known_options()
    assert "clusters.by=label" in record.resolved["options"]


def jobs_by_status(**counts: int) -> dict[str, int]:
    return dict.fromkeys(("queued", "running", "cancelling", "succeeded", "failed", "cancelled", "timed_out"), 0) | counts
