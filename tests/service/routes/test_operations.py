"""Health, workers, version, and the methods."""

import errno
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import httpx
import pytest

from tests.service.conftest import Served, assert_problem, job, npz, put_dataset, ready_model
from tests.support.polling import wait_until
from unitrank_schemas.methods import METHODS, MethodCard
from unitrank_schemas.operations import Version, Workers
from unitrank_service.app import create_app
from unitrank_store import full
from unitrank_store.blobs.blob_store import BlobWriter
from unitrank_store.queue.rq_queue import INSPECTIONS, JOBS
from unitrank_store.redis.embedded import EmbeddedServer
from unitrank_store.settings import Settings
from unitrank_store.worker_registry import WorkerEntry


def worker(name: str, queue: str) -> WorkerEntry:
    return WorkerEntry(name, queue, "cpu", 1, "host", time.time(), time.time(), 10, None, {"default": ["sha256:1"]}, 2)


def test_healthz_is_alive(client: httpx.Client) -> None:
    assert client.get("/healthz").json() == {"status": "ok"}


def test_readyz_without_a_worker_for_jobs_is_503(client: httpx.Client, served: Served) -> None:
    served.backend.workers.beat(worker("inspector", INSPECTIONS))

    assert_problem(client.get("/readyz"), 503, "no_worker")


def test_readyz_with_a_worker_is_ready(client: httpx.Client, served: Served) -> None:
    served.backend.workers.beat(worker("cpu-0", JOBS))

    assert client.get("/readyz").json() == {"status": "ok", "warnings": []}


def test_readyz_when_workers_are_not_confined_then_counts_them(client: httpx.Client, served: Served) -> None:
    """Anybody may read the warning, so it has no name and no path."""
    served.backend.workers.beat(worker("cpu-0", JOBS))
    for name in ("cpu-1", "cpu-2"):
        served.backend.workers.beat(replace(worker(name, JOBS), unconfined="cannot read /srv/secret"))

    detail = "2 of 3 workers run models without confinement; the log of each worker has the reason"
    assert client.get("/readyz").json() == {"status": "ok", "warnings": [{"code": "confinement", "detail": detail}]}


@pytest.mark.parametrize("path", ["/readyz", "/v1/models", "/v1/jobs"])
def test_requests_without_a_store_are_503(serve: Callable[..., tuple[httpx.Client, Served]], path: str) -> None:
    client, _ = serve(redis_url="unix:///nowhere/valkey.sock")

    answer = client.get(path, timeout=30)

    assert_problem(answer, 503, "store_unavailable")
    assert int(answer.headers["retry-after"]) > 0


@pytest.fixture
def full_memory(served: Served) -> Iterator[None]:
    """The server's memory is full during the test."""
    connection = served.backend.connection
    limit = str(connection.config_get("maxmemory")["maxmemory"])
    connection.config_set("maxmemory", 1)
    yield
    connection.config_set("maxmemory", limit)


@pytest.fixture
def failing_disk(served: Served, server: EmbeddedServer) -> Iterator[None]:
    """The server cannot write a snapshot during the test, and so it rejects all writes."""
    connection = served.backend.connection
    connection.set("key", "value")
    # The snapshot's file cannot get its name.
    (server.state / "dump.rdb").mkdir()
    connection.config_set("save", "3600 1")
    connection.bgsave()
    wait_until(lambda: connection.info("persistence")["rdb_last_bgsave_status"] == "err", "the snapshot has failed")
    yield
    connection.config_set("save", "")
    (server.state / "dump.rdb").rmdir()


@pytest.mark.parametrize(("fault", "reason"), [("full_memory", "memory has no room"), ("failing_disk", "cannot write to its disk")])
def test_requests_to_a_full_store_are_store_full(
    request: pytest.FixtureRequest, client: httpx.Client, served: Served, fault: str, reason: str
) -> None:
    ready_model(client, served)
    put_dataset(client)
    served.backend.workers.beat(worker("cpu-0", JOBS))
    request.getfixturevalue(fault)

    for answer in (
        client.get("/readyz"),
        client.post("/v1/jobs", json=job()),
        client.put("/v1/datasets/other", content=npz(x=[1.0]), headers={"Content-Type": "application/octet-stream"}),
    ):
        problem = assert_problem(answer, 503, "store_full")
        assert int(answer.headers["retry-after"]) > 0
    assert reason in problem["detail"]


def test_upload_to_a_full_disk_is_store_full(client: httpx.Client, served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(writer: BlobWriter, data: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(BlobWriter, "write", fail)
    answer = client.put("/v1/datasets/data", content=npz(x=[1.0]), headers={"Content-Type": "application/octet-stream"})

    assert "disk" in assert_problem(answer, 503, "store_full")["detail"]


def test_readyz_with_a_full_disk_is_store_full(client: httpx.Client, served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    served.backend.workers.beat(worker("cpu-0", JOBS))
    monkeypatch.setattr(full, "FREE_BYTES", 2**62)

    assert_problem(client.get("/readyz"), 503, "store_full")


def test_workers_are_listed(client: httpx.Client, served: Served) -> None:
    served.backend.workers.beat(worker("cpu-0", JOBS))

    listed = Workers.model_validate_json(client.get("/v1/workers").content).items
    assert [(each.name, each.device, each.models) for each in listed] == [("cpu-0", "cpu", ["sha256:1"])]


def test_version_names_the_api(client: httpx.Client) -> None:
    assert Version.model_validate_json(client.get("/v1/version").content).api == "v1"


def test_methods_are_all_listed_with_their_options(client: httpx.Client) -> None:
    listed = client.get("/v1/methods").json()

    cards = [MethodCard.model_validate(item) for item in listed["items"]]
    assert ([card.name for card in cards], listed["next"]) == (list(METHODS), None)
    assert listed["items"][4]["options"]["properties"]["steps"]["default"] == 20


def test_method_by_name(client: httpx.Client) -> None:
    assert client.get("/v1/methods/conductance").json()["complete"] is True
    assert_problem(client.get("/v1/methods/conductanse"), 404, "method_not_found")


def test_create_app_sends_nothing_to_the_store(tmp_path: object) -> None:
    create_app(Settings(redis_url="redis://store.invalid:1"))
