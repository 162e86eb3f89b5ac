"""The importer reads contents from a URI into the blob store, completely or not at all."""

from collections.abc import Callable
from pathlib import Path

import httpx
import numpy as np
import pytest

from tests.service.conftest import MANIFEST, Json, Served, assert_problem, job, npz, ready_model
from tests.service.contents.conftest import SHARDS, stored
from tests.support.polling import wait_until
from tests.support.servers.remote_sources import Bucket, Web
from unitrank_store.contents.waiting_jobs import model_ready
from unitrank_store.redis import keyspace

Serve = Callable[..., tuple[httpx.Client, Served]]


@pytest.fixture
def redis_url(own_redis_url: str) -> str:
    """Another store than the session's, whose service would import too, and allows no sources."""
    return own_redis_url


def put(client: httpx.Client, uri: str, path: str = "/v1/datasets/data") -> httpx.Response:
    return client.put(path, json={"uri": uri})


def settled(client: httpx.Client, path: str = "/v1/datasets/data") -> Json:
    """The resource after its import has ended."""

    def read() -> Json | None:
        resource: Json = client.get(path).json()
        has_ended = resource["problem"] or (resource["status"] != "importing" and resource["digest"])
        return resource if has_ended else None

    return wait_until(read, f"the import of {path} has ended")


def test_dataset_when_in_a_bucket_then_is_imported(serve: Serve, bucket: Bucket) -> None:
    client, _ = serve(sources=["s3://sets/open/"])
    answer = put(client, bucket.put("open/one.npz", SHARDS[0]))
    there = client.put("/v1/datasets/same", content=SHARDS[0], headers={"Content-Type": "application/octet-stream"}).json()

    assert (answer.status_code, answer.headers["location"]) == (202, "/v1/datasets/data")
    assert (answer.json()["status"], answer.json()["digest"], answer.json()["fields"]) == ("importing", None, None)
    resource = settled(client)
    assert (resource["status"], resource["examples"], resource["digest"]) == ("ready", 3, there["digest"])
    assert resource["fields"] == there["fields"]
    assert client.get(f"/v1/datasets/data@{resource['digest']}").status_code == 200


def test_dataset_when_it_is_a_glob_of_shards_then_their_rows_follow_each_other(serve: Serve, bucket: Bucket) -> None:
    client, served = serve(sources=["s3://sets/"])
    for name, content in zip(("part-1.npz", "part-0.npz"), SHARDS, strict=True):
        bucket.put(f"shards/{name}", content)
    put(client, "s3://sets/shards/part-*.npz")

    resource = settled(client)
    assert (resource["status"], resource["examples"]) == ("ready", 5)
    with served.backend.blobs.open_table(resource["digest"]) as table:
        assert table.read("x", slice(None)).tolist() == [[9, 9], [9, 9], [0, 1], [2, 3], [4, 5]]
    put(client, "s3://sets/shards/part-*.npz")
    assert settled(client)["digest"] == resource["digest"]


def test_model_when_on_a_web_server_then_is_inspected(serve: Serve, site: Web) -> None:
    client, served = serve(sources=[f"{site.url}/models/"])
    site.pages["/models/net.pt2"] = b"archive"
    answer = put(client, f"{site.url}/models/net.pt2?token=1", "/v1/models/net")

    assert (answer.status_code, answer.json()["status"], answer.json()["digest"]) == (202, "inspecting", None)
    resource = settled(client, "/v1/models/net")
    assert (resource["status"], resource["bytes"]) == ("inspecting", 7)
    assert site.requests == ["/models/net.pt2?token=1"]
    assert ready_model(client, served)["digest"] == resource["digest"]


def test_import_when_the_name_is_new_then_replaces_it_only_once_it_is_ready(serve: Serve, site: Web) -> None:
    client, _ = serve(sources=[site.url])
    before = client.put("/v1/datasets/data", content=SHARDS[0], headers={"Content-Type": "application/octet-stream"}).json()
    site.pages["/a.npz"] = SHARDS[1]
    site.slow.add("/a.npz")
    put(client, f"{site.url}/a.npz")

    assert client.get("/v1/datasets/data").json()["status"] == "importing"
    assert client.get(f"/v1/datasets/data@{before['digest']}").status_code == 200
    site.go.set()
    assert settled(client)["examples"] == 2


def test_import_when_put_twice_then_is_read_once(serve: Serve, site: Web) -> None:
    client, _ = serve(sources=[site.url])
    site.pages["/a.npz"] = SHARDS[0]
    site.slow.add("/a.npz")
    first, second = (put(client, f"{site.url}/a.npz") for _ in range(2))
    site.go.set()

    assert (first.status_code, second.status_code) == (202, 202)
    assert settled(client)["status"] == "ready"
    assert site.requests == ["/a.npz"]


@pytest.mark.parametrize(
    ("uri", "code"),
    [
        ("s3://other/a.npz", "uri_not_allowed"),
        ("file:///etc/passwd", "uri_not_allowed"),
        ("zip://a.npz::http://127.0.0.1/a.zip", "uri_malformed"),
        ("s3://sets/../other/a.npz", "uri_malformed"),
        ("http://169.254.169.254/latest/meta-data", "uri_not_allowed"),
    ],
)
def test_put_when_the_uri_may_not_be_read_then_is_422(serve: Serve, tmp_path: Path, uri: str, code: str) -> None:
    client, _ = serve(sources=["s3://sets/"])

    for path in ("/v1/datasets/data", "/v1/models/net"):
        assert_problem(put(client, uri, path), 422, code, "/uri")
        assert client.get(path).status_code == 404
    assert stored(tmp_path) == []


def test_put_when_a_model_is_a_glob_then_is_422(serve: Serve) -> None:
    client, _ = serve(sources=["s3://sets/"])

    assert_problem(put(client, "s3://sets/*.pt2", "/v1/models/net"), 422, "uri_malformed", "/uri")


def test_import_when_it_is_wrong_then_is_rejected_and_nothing_is_left(serve: Serve, site: Web, tmp_path: Path) -> None:
    client, served = serve(sources=[site.url], max_dataset_bytes=5000)
    ready_model(client, served)
    ready = stored(tmp_path)
    site.pages |= {"/junk": b"junk", "/empty": b"", "/long": b"PK" + bytes(6000)}
    site.moved["/moved"] = "http://127.0.0.1:1/inside"
    codes = {
        "/junk": "not_a_table",
        "/empty": "empty_body",
        "/long": "dataset_too_large",
        "/moved": "uri_unreadable",
        "/none": "uri_not_found",
    }
    for path, code in codes.items():
        put(client, f"{site.url}{path}")
        resource = settled(client)
        assert (resource["status"], resource["problem"]["code"], resource["digest"]) == ("rejected", code, None), path
        assert_problem(client.post("/v1/jobs", json=job()), 422, "dataset_rejected", "/dataset")
    assert len(client.get("/v1/datasets").json()["items"]) == 1
    assert stored(tmp_path) == ready


def test_shards_when_they_differ_then_are_rejected(serve: Serve, bucket: Bucket, tmp_path: Path) -> None:
    client, _ = serve(sources=["s3://sets/"])
    bucket.put("unequal/a.npz", SHARDS[0])
    bucket.put("unequal/b.npz", npz(x=np.zeros((1, 3))))
    put(client, "s3://sets/unequal/*")

    problem = settled(client)["problem"]
    assert problem["code"] == "unequal_shards"
    assert "unequal/b.npz" in problem["detail"]
    assert stored(tmp_path) == []


def test_job_when_its_dataset_is_imported_then_waits_and_pins_its_digest(serve: Serve, site: Web) -> None:
    client, served = serve(sources=[site.url])
    ready_model(client, served)
    site.pages["/a.npz"] = npz(image=np.zeros((10, 1, 2, 2), np.uint8), y=np.arange(10) % 3)
    site.slow.add("/a.npz")
    put(client, f"{site.url}/a.npz")
    answer = client.post("/v1/jobs", json=job())

    assert answer.status_code == 202, answer.text
    id = answer.json()["id"]
    assert served.backend.jobs.get(id).waiting_for
    assert_problem(client.delete("/v1/datasets/data"), 409, "dataset_in_use")
    site.go.set()
    digest = settled(client)["digest"]
    wait_until(lambda: not served.backend.jobs.get(id).waiting_for)
    record = served.backend.jobs.get(id)
    assert (record.status, record.resolved["dataset"]["digest"], record.resolved["checked"]) == ("queued", digest, False)
    assert client.get(f"/v1/jobs/{id}").json()["position"] == 0
    assert_problem(client.delete("/v1/datasets/data"), 409, "dataset_in_use")
    client.post(f"/v1/jobs/{id}/cancel")
    assert client.delete("/v1/datasets/data").status_code == 204


def test_job_when_its_dataset_is_rejected_then_fails_for_that_reason(serve: Serve, site: Web) -> None:
    client, served = serve(sources=[site.url])
    ready_model(client, served)
    site.pages["/a.npz"] = b"junk"
    site.slow.add("/a.npz")
    put(client, f"{site.url}/a.npz")
    id = client.post("/v1/jobs", json=job()).json()["id"]
    site.go.set()
    settled(client)

    wait_until(lambda: served.backend.jobs.get(id).ended)
    resource = client.get(f"/v1/jobs/{id}").json()
    assert (resource["status"], resource["problem"]["code"]) == ("failed", "not_a_table")
    assert_problem(client.post("/v1/jobs", json=job()), 422, "dataset_rejected", "/dataset")


def test_job_when_model_and_dataset_are_imported_then_waits_for_the_inspection_too(serve: Serve, site: Web) -> None:
    client, served = serve(sources=[site.url])
    site.pages |= {"/a.npz": npz(image=np.zeros((10, 1, 2, 2), np.uint8), y=np.arange(10) % 3), "/net.pt2": b"archive"}
    site.slow |= {"/a.npz", "/net.pt2"}
    put(client, f"{site.url}/net.pt2", "/v1/models/net")
    put(client, f"{site.url}/a.npz")
    id = client.post("/v1/jobs", json=job()).json()["id"]
    site.go.set()
    settled(client)
    digest = settled(client, "/v1/models/net")["digest"]

    wait_until(lambda: f"model:{digest}" in served.backend.jobs.get(id).waiting_for)
    assert client.get(f"/v1/jobs/{id}").json()["position"] is None
    finish_inspection(served, digest)
    wait_until(lambda: not served.backend.jobs.get(id).waiting_for)
    resolved = served.backend.jobs.get(id).resolved
    assert (resolved["model"]["digest"], resolved["dataset"]["digest"]) == (
        digest,
        client.get("/v1/datasets/data").json()["digest"],
    )


def test_import_when_deleted_meanwhile_then_nothing_is_left(serve: Serve, site: Web, tmp_path: Path) -> None:
    client, served = serve(sources=[site.url])
    site.pages["/a.npz"] = SHARDS[0]
    site.slow.add("/a.npz")
    put(client, f"{site.url}/a.npz")
    wait_until(lambda: bool(site.requests))
    assert client.delete("/v1/datasets/data").status_code == 204
    site.go.set()

    wait_until(lambda: not served.backend.connection.keys(f"{keyspace.PREFIX}:import:*:lock"))
    assert client.get("/v1/datasets/data").status_code == 404
    assert stored(tmp_path) == []
    assert not served.backend.datasets.unread()


def finish_inspection(served: Served, digest: str) -> None:
    with served.backend.blobs.writer() as sink:
        sink.write(b"clean")
    served.backend.models.ready(digest, MANIFEST, sink.digest)
    model_ready(served.backend.connection, served.backend.jobs, digest)
