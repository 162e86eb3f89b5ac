"""Keys of two tenants: each tenant sees only its own contents and jobs, and has its own limits."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import httpx
import numpy as np
import pytest

from tests.service.conftest import MANIFEST, TLS, Json, Served, assert_problem, job, npz
from unitrank_store.jobs.job_store import JobStore
from unitrank_store.queue.rq_queue import JOBS
from unitrank_store.worker_registry import WorkerEntry

Serve = Callable[..., tuple[httpx.Client, Served]]
BYTES = {"Content-Type": "application/octet-stream"}
IMAGES = npz(image=np.zeros((10, 1, 2, 2), np.uint8), y=np.arange(10, dtype=np.uint8) % 3)


class Tenant:
    """A client with a new key of a tenant."""

    def __init__(self, served: Served, tenant: str, limit: int | None, scopes: Any) -> None:
        key, secret = served.backend.keys.create(tenant, scopes, tenant, limit)
        self.key = key
        self.http = httpx.Client(base_url=served.url, headers={"Authorization": f"Bearer {secret}"}, verify=TLS)
        self.served = served

    def put(self, path: str, content: bytes) -> Json:
        answer = self.http.put(path, content=content, headers=BYTES)
        assert answer.status_code in (200, 201, 202), answer.text
        resource: Json = answer.json()
        return resource

    def upload_all(self) -> None:
        """Upload a dataset and a model, and make the model ready."""
        self.put("/v1/datasets/data", IMAGES)
        model = self.put("/v1/models/net", b"archive")
        if model["status"] == "inspecting":
            with self.served.backend.blobs.writer() as sink:
                sink.write(b"clean")
            self.served.backend.models.ready(model["digest"], MANIFEST, sink.digest)

    def post(self, **changes: Any) -> httpx.Response:
        return self.http.post("/v1/jobs", json=job(**changes))


MakeTenant = Callable[..., Tenant]


@pytest.fixture
def make_tenant(serve: Serve) -> Iterator[MakeTenant]:
    """Makes clients for tenants of one service."""
    _, served = serve()
    with ExitStack() as stack:

        def make(tenant: str, limit: int | None = None, scopes: Any = ("read", "write", "models")) -> Tenant:
            client = Tenant(served, tenant, limit, scopes)
            stack.enter_context(client.http)
            return client

        yield make


@pytest.fixture
def tenants(make_tenant: MakeTenant) -> tuple[Tenant, Tenant]:
    return make_tenant("ours"), make_tenant("theirs")


def test_names_when_of_another_tenant_then_are_not_found(tenants: tuple[Tenant, Tenant]) -> None:
    ours, theirs = tenants
    ours.upload_all()
    digest = ours.http.get("/v1/datasets/data").json()["digest"]

    for path in ("/v1/datasets/data", f"/v1/datasets/data@{digest}", "/v1/models/net"):
        assert theirs.http.get(path).status_code == theirs.http.delete(path).status_code == 404
    assert theirs.http.get("/v1/datasets").json()["items"] == theirs.http.get("/v1/models").json()["items"] == []
    assert [item["name"] for item in ours.http.get("/v1/datasets").json()["items"]] == ["data"]


def test_names_when_equal_then_each_tenant_gets_its_own_content(tenants: tuple[Tenant, Tenant]) -> None:
    ours, theirs = tenants
    first = ours.put("/v1/datasets/data", npz(x=np.zeros(3)))
    second = theirs.put("/v1/datasets/data", npz(x=np.ones(4)))
    third = theirs.put("/v1/datasets/same", npz(x=np.zeros(3)))

    assert [tenant.http.get("/v1/datasets/data").json()["examples"] for tenant in tenants] == [3, 4]
    assert first["digest"] == third["digest"] != second["digest"]
    assert ours.http.delete("/v1/datasets/data").status_code == 204
    assert theirs.http.get("/v1/datasets/same").status_code == 200
    assert theirs.served.backend.blobs.exists(third["digest"])


def test_job_when_of_another_tenant_then_is_not_found(tenants: tuple[Tenant, Tenant]) -> None:
    ours, theirs = tenants
    ours.upload_all()
    id = ours.post().json()["id"]

    for path in (f"/v1/jobs/{id}", f"/v1/jobs/{id}?wait=1", f"/v1/jobs/{id}/result", f"/v1/jobs/{id}/events"):
        assert_problem(theirs.http.get(path), 404, "job_not_found")
    assert_problem(theirs.http.post(f"/v1/jobs/{id}/cancel"), 404, "job_not_found")
    assert_problem(theirs.http.delete(f"/v1/jobs/{id}"), 404, "job_not_found")
    for query in ("", "?status=queued", "?model=net"):
        assert theirs.http.get(f"/v1/jobs{query}").json()["items"] == []
        assert [item["id"] for item in ours.http.get(f"/v1/jobs{query}").json()["items"]] == [id]
    assert ours.http.get(f"/v1/jobs/{id}").json()["status"] == "queued"


def test_job_when_another_tenant_posts_an_equal_job_then_each_tenant_has_its_own_job(tenants: tuple[Tenant, Tenant]) -> None:
    for tenant in tenants:
        tenant.upload_all()
    ours, theirs = (tenant.post() for tenant in tenants)

    assert (ours.status_code, theirs.status_code) == (202, 202)
    assert ours.json()["id"] != theirs.json()["id"]


def test_job_when_it_names_a_content_of_another_tenant_then_is_422(tenants: tuple[Tenant, Tenant]) -> None:
    ours, theirs = tenants
    ours.upload_all()

    assert_problem(theirs.post(), 422, "model_not_found", "/model")


def test_keys_when_of_one_tenant_then_see_the_same_jobs(make_tenant: MakeTenant) -> None:
    first, second = make_tenant("ours"), make_tenant("ours", scopes=("read",))
    first.upload_all()
    id = first.post().json()["id"]

    assert second.http.get(f"/v1/jobs/{id}").status_code == 200
    assert_problem(second.post(), 403, "forbidden")


def test_key_when_it_has_a_limit_then_more_jobs_are_429_until_one_ends(make_tenant: MakeTenant) -> None:
    bounded, other = make_tenant("ours", limit=2), make_tenant("ours")
    bounded.upload_all()
    first, second, third = (bounded.post(seed=seed) for seed in range(3))

    assert (first.status_code, second.status_code) == (202, 202)
    assert_problem(third, 429, "queue_full")
    assert third.headers["retry-after"]
    assert other.post(seed=3).status_code == 202
    bounded.http.post(f"/v1/jobs/{first.json()['id']}/cancel")
    assert bounded.post(seed=4).status_code == 202


def test_jobs_when_two_keys_post_then_they_take_turns(make_tenant: MakeTenant) -> None:
    flood, other = make_tenant("ours"), make_tenant("theirs")
    for tenant in (flood, other):
        tenant.upload_all()
    flooded = [flood.post(seed=seed).json()["id"] for seed in range(6)]
    late = other.post().json()

    assert late["position"] <= 1
    assert flood.http.get(f"/v1/jobs/{flooded[-1]}").json()["position"] == 6


def test_job_when_another_tenant_waits_for_it_then_is_not_found_at_once(
    tenants: tuple[Tenant, Tenant], monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, theirs = tenants
    ours.upload_all()
    id = ours.post().json()["id"]
    monkeypatch.setattr("unitrank_store.jobs.events._read", lambda *_: pytest.fail("the service waited for the job"))

    assert_problem(theirs.http.get(f"/v1/jobs/{id}?wait=30"), 404, "job_not_found")


def test_workers_when_another_tenants_job_runs_then_its_job_and_its_models_are_not_shown(tenants: tuple[Tenant, Tenant]) -> None:
    ours = tenants[0]
    ours.upload_all()
    id = ours.post().json()["id"]
    backend = ours.served.backend
    models = {"ours": ["net"], "theirs": ["net", "secret"]}
    backend.workers.beat(WorkerEntry("w", JOBS, "cpu", 1, "host", time.time(), time.time(), 10, id, models))
    workers = [tenant.http.get("/v1/workers").json()["items"][0] for tenant in tenants]

    assert [worker["job"] for worker in workers] == [id, None]
    assert [worker["models"] for worker in workers] == [["net"], ["net", "secret"]]
    assert JobStore(backend.connection).get(id).tenant == "ours"
