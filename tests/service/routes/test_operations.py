"""Health, workers, version, and the methods."""

import time
from collections.abc import Callable

import httpx
import pytest

from tests.service.conftest import Served, assert_problem
from unitrank_schemas.methods import METHODS, MethodCard
from unitrank_schemas.operations import Version, Workers
from unitrank_service.app import create_app
from unitrank_store.queue.rq_queue import INSPECTIONS, JOBS
from unitrank_store.settings import Settings
from unitrank_store.worker_registry import WorkerEntry


def worker(name: str, queue: str) -> WorkerEntry:
    return WorkerEntry(name, queue, "cpu", 1, "host", time.time(), time.time(), 10, None, ("sha256:1",))


def test_healthz_is_alive(client: httpx.Client) -> None:
    assert client.get("/healthz").json() == {"status": "ok"}


def test_readyz_without_a_worker_for_jobs_is_503(client: httpx.Client, served: Served) -> None:
    served.backend.workers.beat(worker("inspector", INSPECTIONS))

    assert_problem(client.get("/readyz"), 503, "no_worker")


def test_readyz_with_a_worker_is_ready(client: httpx.Client, served: Served) -> None:
    served.backend.workers.beat(worker("cpu-0", JOBS))

    assert client.get("/readyz").json() == {"status": "ok"}


@pytest.mark.parametrize("path", ["/readyz", "/v1/models", "/v1/jobs"])
def test_requests_without_a_store_are_503(serve: Callable[..., tuple[httpx.Client, Served]], path: str) -> None:
    client, _ = serve(redis_url="unix:///nowhere/valkey.sock")

    answer = client.get(path, timeout=30)

    assert_problem(answer, 503, "store_unavailable")
    assert int(answer.headers["retry-after"]) > 0


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
