"""A store of a newer version: this version ignores the fields that it does not know."""

import json
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.support.earlier_store import EarlierStore, load
from unitrank_schemas.base import Json
from unitrank_store.access.api_keys import KeyStore
from unitrank_store.blobs.blob_store import BlobStore
from unitrank_store.contents.datasets import DatasetStore
from unitrank_store.contents.models import ModelStore
from unitrank_store.jobs.job_store import JobStore
from unitrank_store.recovery.reaper import Reaper
from unitrank_store.redis import keyspace
from unitrank_store.settings import Settings
from unitrank_store.webhooks.deliveries import AttemptRecord, DeliveryStore
from unitrank_store.worker_registry import WorkerEntry, WorkerRegistry

ENTRY = WorkerEntry("cpu-0", "jobs", "cpu", 7, "host", 1.0, 2.0, job="j")


def newer(value: Any) -> Any:
    """The JSON with an unknown field in each object that has text keys and a known shape."""
    return {**value, "colour": {"of": "a later version"}} if isinstance(value, dict) else value


def rewrite(connection: redis.Redis, key: str) -> None:
    """Add a field to each JSON object that the key holds, as a newer version would."""
    if connection.type(key) == b"string":
        connection.set(key, json.dumps(newer(json.loads(connection.get(key)))), keepttl=True)
        return
    for field, value in connection.hgetall(key).items():
        parsed = json.loads(value)
        attempts = {"attempts": list(map(newer, parsed["attempts"]))}
        connection.hset(key, field, json.dumps(newer({**parsed, **attempts})))


@pytest.fixture
def stored(connection: redis.Redis, tmp_path: Path) -> EarlierStore:
    return load(connection, tmp_path / "blobs")


@pytest.fixture
def blobs(tmp_path: Path) -> BlobStore:
    return BlobStore.of(Settings(state=tmp_path))


def test_record_when_a_newer_version_added_a_field_then_is_read_and_changed(connection: redis.Redis, stored: EarlierStore) -> None:
    connection.hset(keyspace.record("job", stored.queued), mapping={"colour": '"blue"', "format": "99"})
    jobs = JobStore(connection)
    attempt = jobs.start(stored.queued, "w")

    assert attempt == 1
    assert jobs.get(stored.queued).format == 99
    assert jobs.finish(stored.queued, 1, "succeeded", result={})
    assert connection.hget(keyspace.record("job", stored.queued), "colour") == b'"blue"'


def test_record_when_it_lacks_a_field_without_a_default_then_is_not_half_read(
    connection: redis.Redis, stored: EarlierStore
) -> None:
    connection.hdel(keyspace.record("job", stored.queued), "resolved")

    assert JobStore(connection).get_many([stored.queued, stored.done]) == [JobStore(connection).get(stored.done)]


@pytest.mark.parametrize(("kind", "name"), [("model", "net"), ("dataset", "data")])
def test_content_when_a_newer_version_added_a_field_then_is_read(
    connection: redis.Redis, stored: EarlierStore, blobs: BlobStore, kind: str, name: str
) -> None:
    store: Any = {"model": ModelStore, "dataset": DatasetStore}[kind](connection, blobs)
    before = store.get(name)
    rewrite(connection, keyspace.content(kind, before.digest))

    assert store.get(name) == before
    assert store.list() == store.list()


def test_delivery_when_a_newer_version_added_fields_then_is_taken_and_settled(
    connection: redis.Redis, stored: EarlierStore
) -> None:
    deliveries, jobs = DeliveryStore(connection), JobStore(connection)
    (delivery,) = deliveries.of(stored.queued)
    jobs.finish(stored.queued, jobs.start(stored.queued, "w") or 0, "succeeded", result={})
    due = deliveries.take(now=1.0)
    assert due is not None
    tried = delivery.tried(AttemptRecord(1.0, 500, None, 0.1), "pending", 2.0)
    assert deliveries.settle(due, tried)
    rewrite(connection, keyspace.deliveries("job", stored.queued))

    assert deliveries.of(stored.queued) == [tried]


def test_worker_when_its_version_is_newer_then_its_job_is_not_lost(connection: redis.Redis) -> None:
    clock = iter(range(0, 1000, 10))
    jobs, workers = JobStore(connection), WorkerRegistry(connection)
    id = jobs.create({"model": "m"}).id
    jobs.start(id, ENTRY.name)
    workers.beat(WorkerEntry(**{**ENTRY.__dict__, "job": id}))
    rewrite(connection, keyspace.worker(ENTRY.name))
    reaper = Reaper(connection, Settings(), clock=lambda: next(clock))

    assert [worker.name for worker in workers.list()] == [ENTRY.name]
    assert [reaper.sweep() for _ in range(2)] == [[], []]
    assert jobs.get(id).status == "running"


def test_worker_when_its_version_is_older_then_missing_fields_have_defaults(connection: redis.Redis) -> None:
    WorkerRegistry(connection).beat(ENTRY)
    stored: Json = json.loads(connection.get(keyspace.worker(ENTRY.name)))
    del stored["unconfined"]
    connection.set(keyspace.worker(ENTRY.name), json.dumps(stored), px=9000)
    (entry,) = WorkerRegistry(connection).list()

    assert entry.unconfined is None


def test_key_when_an_older_version_stored_no_limit_then_has_the_operators_limit(connection: redis.Redis) -> None:
    keys = KeyStore(connection)
    key, secret = keys.create("Ada", ["read"])
    connection.hdel(keyspace.key(key.id), "limit")

    assert keys.verify(secret) == key
