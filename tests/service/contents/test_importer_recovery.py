"""An import that was lost, stopped or slow leaves no files, and another service repeats it."""

import threading
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.service.contents.conftest import SHARDS, stored
from tests.support.polling import wait_until
from tests.support.servers.remote_sources import Web
from unitrank_service.backend import Backend
from unitrank_store.contents.waiting_jobs import dataset_key
from unitrank_store.errors import StateConflict
from unitrank_store.queue.rq_queue import positions
from unitrank_store.redis import keyspace
from unitrank_store.redis.leases import lease
from unitrank_store.settings import Settings


def test_import_when_another_service_reads_it_then_is_left_to_it(redis_url: str, tmp_path: Path, site: Web) -> None:
    backend = Backend.of(Settings(redis_url=redis_url, state=tmp_path, sources=(site.url,)))
    site.pages["/a.npz"] = SHARDS[0]
    key = backend.datasets.begin("data", f"{site.url}/a.npz").digest

    with lease(backend.connection, keyspace.import_lock(key)) as mine:
        assert mine
        assert not backend.importer.read_next(threading.Event())
        assert site.requests == []
    assert backend.importer.read_next(threading.Event())
    assert backend.datasets.get("data").status == "ready"


def test_import_when_it_ended_its_service_three_times_then_is_rejected(redis_url: str, tmp_path: Path, site: Web) -> None:
    backend = Backend.of(Settings(redis_url=redis_url, state=tmp_path, sources=(site.url,)))
    key = backend.datasets.begin("data", f"{site.url}/a.npz").digest
    backend.connection.sadd(keyspace.import_attempts(key), "first", "second", "third")

    assert backend.importer.read_next(threading.Event())
    assert (backend.datasets.get("data").problem or {})["code"] == "import_failed"
    assert not backend.importer.read_next(threading.Event())
    assert site.requests == []


@pytest.fixture
def redis_url(own_redis_url: str) -> str:
    """Another store than the session's, whose service would import too, and allows no sources."""
    return own_redis_url


def backend_at(redis_url: str, state: Path, site: Web, **settings: Any) -> Backend:
    """A backend without a running service: only the test imports."""
    return Backend.of(Settings(redis_url=redis_url, state=state, sources=(site.url,), **settings))


def waiting_job(backend: Backend, key: str) -> str:
    """A job that waits for the dataset."""
    return backend.jobs.create({}, {"dataset": {"digest": key}}, needs=[key], waiting_for=[dataset_key(key)]).id


def test_import_when_its_service_is_lost_after_the_import_then_another_one_queues_the_jobs(
    redis_url: str, tmp_path: Path, site: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = backend_at(redis_url, tmp_path, site)
    site.pages["/a.npz"] = SHARDS[0]
    key = backend.datasets.begin("data", f"{site.url}/a.npz").digest
    id = waiting_job(backend, key)

    def lost(*_: Any) -> None:
        raise redis.exceptions.ConnectionError("gone")

    with monkeypatch.context() as patch:
        patch.setattr("unitrank_service.contents.importer.dataset_arrived", lost)
        with pytest.raises(redis.exceptions.ConnectionError):
            backend.importer.read_next(threading.Event())
    digest = backend.datasets.get("data").digest
    assert backend.jobs.get(id).needs == [digest]
    with pytest.raises(StateConflict):
        backend.datasets.delete("data")
    assert backend.importer.read_next(threading.Event())

    assert backend.jobs.get(id).waiting_for == []
    assert positions(backend.connection, [backend.jobs.get(id)]) == {id: 0}
    assert site.requests == ["/a.npz"]
    assert not backend.importer.read_next(threading.Event())


def test_import_when_its_service_is_lost_after_the_rejection_then_another_one_fails_the_jobs(
    redis_url: str, tmp_path: Path, site: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = backend_at(redis_url, tmp_path, site)
    key = backend.datasets.begin("data", f"{site.url}/none.npz").digest
    id = waiting_job(backend, key)

    def lost(*_: Any) -> None:
        raise redis.exceptions.ConnectionError("gone")

    with monkeypatch.context() as patch:
        patch.setattr("unitrank_service.contents.importer.dataset_rejected", lost)
        with pytest.raises(redis.exceptions.ConnectionError):
            backend.importer.read_next(threading.Event())
    site.pages["/none.npz"] = SHARDS[0]
    backend.importer.read_next(threading.Event())

    assert backend.datasets.get("data").status == "rejected"
    assert (backend.jobs.get(id).status, (backend.jobs.get(id).problem or {})["code"]) == ("failed", "uri_not_found")


def test_import_when_its_service_stops_then_no_attempt_is_counted(redis_url: str, tmp_path: Path, site: Web) -> None:
    backend = backend_at(redis_url, tmp_path, site)
    site.pages["/a.npz"] = SHARDS[0]
    site.slow.add("/a.npz")
    backend.datasets.begin("data", f"{site.url}/a.npz")
    for _ in range(5):
        stop = threading.Event()
        threading.Timer(0.1, stop.set).start()
        assert backend.importer.read_next(stop)
    site.go.set()

    assert backend.importer.read_next(threading.Event())
    assert backend.datasets.get("data").status == "ready"


def test_import_when_the_store_was_down_then_no_attempt_is_counted_again(
    redis_url: str, tmp_path: Path, site: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = backend_at(redis_url, tmp_path, site)
    site.pages["/a.npz"] = SHARDS[0]
    backend.datasets.begin("data", f"{site.url}/a.npz")

    def lost(*_: Any, **__: Any) -> None:
        raise redis.exceptions.ConnectionError("gone")

    with monkeypatch.context() as patch:
        patch.setattr(backend.datasets, "arrived", lost)
        for _ in range(5):
            with pytest.raises(redis.exceptions.ConnectionError):
                backend.importer.read_next(threading.Event())

    assert backend.importer.read_next(threading.Event())
    assert backend.datasets.get("data").status == "ready"


def test_import_when_it_takes_too_long_then_ends_even_if_the_driver_hangs(redis_url: str, tmp_path: Path, site: Web) -> None:
    backend = backend_at(redis_url, tmp_path, site, import_timeout=1)
    site.pages["/a.npz"] = SHARDS[0]
    site.slow.add("/a.npz")
    backend.datasets.begin("data", f"{site.url}/a.npz")
    backend.importer.read_next(threading.Event())

    assert (backend.datasets.get("data").problem or {})["code"] == "import_timed_out"
    site.go.set()
    wait_until(lambda: stored(tmp_path) == [])
    assert backend.datasets.get("data").status == "rejected"


def test_import_when_it_exceeds_the_quota_then_is_rejected(redis_url: str, tmp_path: Path, site: Web) -> None:
    backend = backend_at(redis_url, tmp_path, site, quota_bytes=len(SHARDS[0]) + 10)
    site.pages |= {"/a.npz": SHARDS[0], "/b.npz": SHARDS[1]}
    backend.datasets.begin("a", f"{site.url}/a.npz")
    backend.importer.read_next(threading.Event())
    first = stored(tmp_path)
    backend.datasets.begin("b", f"{site.url}/b.npz")
    backend.importer.read_next(threading.Event())

    assert backend.datasets.get("a").status == "ready"
    assert (backend.datasets.get("b").problem or {})["code"] == "store_full"
    assert stored(tmp_path) == first != []


def test_import_when_a_rejected_content_is_put_again_then_the_old_one_is_removed(redis_url: str, tmp_path: Path, site: Web) -> None:
    backend = backend_at(redis_url, tmp_path, site)
    for _ in range(3):
        backend.datasets.begin("data", f"{site.url}/a.npz")
        backend.importer.read_next(threading.Event())
    assert backend.connection.hlen(keyspace.uploads("dataset", "default/data")) == 1
    site.pages["/a.npz"] = SHARDS[0]
    backend.datasets.begin("data", f"{site.url}/a.npz")
    backend.importer.read_next(threading.Event())

    assert len(backend.connection.keys(f"{keyspace.PREFIX}:dataset:content:*")) == 1
