"""Models over HTTP, from PUT to DELETE."""

from collections.abc import Callable
from hashlib import sha256

import httpx
import pytest

from tests.service.conftest import Served, assert_problem, job, put_dataset, put_model, ready_model
from unitrank_schemas.models import Model
from unitrank_store.queue.rq_queue import depth

BYTES = {"Content-Type": "application/octet-stream"}


def test_put_of_a_new_model_is_accepted_and_inspected(client: httpx.Client, served: Served) -> None:
    answer = client.put("/v1/models/net", content=b"archive", headers=BYTES)

    assert answer.status_code == 202
    assert answer.headers["location"] == "/v1/models/net"
    model = Model.model_validate_json(answer.content)
    assert (model.name, model.status, model.bytes) == ("net", "inspecting", 7)
    assert model.digest == "sha256:" + sha256(b"archive").hexdigest()
    assert depth(served.backend.connection, "inspection") == 1


def test_put_of_the_same_model_again_is_200_and_inspects_nothing(client: httpx.Client, served: Served) -> None:
    put_model(client)

    again = client.put("/v1/models/net", content=b"archive", headers=BYTES)

    assert again.status_code == 200
    assert depth(served.backend.connection, "inspection") == 1


def test_get_of_a_ready_model_shows_its_manifest(client: httpx.Client, served: Served) -> None:
    ready_model(client, served)

    model = Model.model_validate_json(client.get("/v1/models/net").content)
    assert model.status == "ready"
    assert model.layers
    assert [layer.name for layer in model.layers] == ["input", "conv1", "fc"]


def test_get_of_a_rejected_model_shows_why(client: httpx.Client, served: Served) -> None:
    digest = put_model(client)["digest"]
    served.backend.models.reject(
        digest, {"code": "bad_archive", "title": "Bad", "detail": "no zip", "status": 422, "retryable": False}
    )

    model = Model.model_validate_json(client.get("/v1/models/net").content)
    assert model.status == "rejected"
    assert model.problem
    assert model.problem.code == "bad_archive"


def test_get_with_the_etag_is_304(client: httpx.Client) -> None:
    put_model(client)
    tag = client.get("/v1/models/net").headers["etag"]

    again = client.get("/v1/models/net", headers={"If-None-Match": f'"other", W/{tag}'})

    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)


def test_list_goes_on_after_the_cursor(client: httpx.Client) -> None:
    for name in ("a", "b", "c"):
        put_model(client, name)

    first = client.get("/v1/models", params={"limit": 2}).json()
    second = client.get("/v1/models", params={"limit": 2, "after": first["next"]}).json()

    assert [model["name"] for model in first["items"]] == ["a", "b"]
    assert ([model["name"] for model in second["items"]], second["next"]) == (["c"], None)


def test_delete_then_get_is_404(client: httpx.Client) -> None:
    put_model(client)

    assert client.delete("/v1/models/net").status_code == 204
    assert_problem(client.get("/v1/models/net"), 404, "model_not_found")


def test_delete_of_a_content_that_a_live_job_needs_is_409(client: httpx.Client, served: Served) -> None:
    ready_model(client, served)
    put_dataset(client)
    assert client.post("/v1/jobs", json=job()).status_code == 202

    assert_problem(client.delete("/v1/models/net"), 409, "model_in_use")
    assert_problem(client.delete("/v1/datasets/data"), 409, "dataset_in_use")


def test_put_over_the_limit_is_413_with_and_without_length(serve: Callable[..., tuple[httpx.Client, Served]]) -> None:
    client, _ = serve(max_model_bytes=1000)

    assert_problem(client.put("/v1/models/net", content=b"x" * 1001, headers=BYTES), 413, "model_too_large")
    assert_problem(client.put("/v1/models/net", content=iter([b"x" * 600] * 2), headers=BYTES), 413, "model_too_large")
    assert_problem(client.get("/v1/models/net"), 404, "model_not_found")


@pytest.mark.parametrize(
    ("path", "body", "kind", "status", "code"),
    [
        ("/v1/models/net", b"", "application/octet-stream", 422, "empty_body"),
        ("/v1/models/net", b"x", "text/plain", 415, "unsupported_media_type"),
        ("/v1/models/net", b"x", "", 415, "unsupported_media_type"),
        ("/v1/models/net", b'{"uri": "s3://bucket/m.pt2"}', "application/json", 422, "uri_not_allowed"),
        ("/v1/models/net", b'{"url": "s3://bucket/m.pt2"}', "application/json", 422, "missing_field"),
        ("/v1/models/net", b'{"uri": ', "application/json", 400, "malformed_json"),
        ("/v1/models/net?architecture=resnet", b"x", "application/octet-stream", 422, "architecture_not_found"),
        ("/v1/models/.net", b"x", "application/octet-stream", 422, "invalid_name"),
        ("/v1/models/" + "n" * 129, b"x", "application/octet-stream", 422, "invalid_name"),
        ("/v1/models/net%0A", b"x", "application/octet-stream", 422, "invalid_name"),
    ],
)
def test_put_of_an_invalid_model_has_the_reason(
    client: httpx.Client, path: str, body: bytes, kind: str, status: int, code: str
) -> None:
    answer = client.put(path, content=body, headers={"Content-Type": kind} if kind else {})

    assert_problem(answer, status, code)


@pytest.mark.parametrize("name", ["other", "net@sha256:" + "0" * 64, "net@sha256:1", "a b", "%2e%2e", "a*"])
def test_get_of_an_unknown_name_is_404(client: httpx.Client, name: str) -> None:
    put_model(client)

    assert_problem(client.get(f"/v1/models/{name}"), 404, "model_not_found")
    assert_problem(client.delete(f"/v1/models/{name}"), 404, "model_not_found")
