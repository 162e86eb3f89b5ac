"""Plots of results over HTTP."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from safetensors.numpy import save

import unitrank_plots
from tests.service.conftest import MANIFEST, Json, Served, assert_problem, job, put_dataset, ready_model
from tests.service.results.conftest import ARRAYS, SHAPE, summary
from unitrank_schemas.results import Result
from unitrank_service.results import plots
from unitrank_service.results.layers.local_arrays import LocalArrays
from unitrank_service.results.stored_result import StoredResult

NAMES = [("model", "net"), ("dataset", "data")]
MAPS = {**ARRAYS, "examples/gradient/a": np.zeros((2, *SHAPE), np.float32)}


@pytest.fixture
def done(client: httpx.Client, served: Served) -> str:
    """The id of a job that has succeeded without an ablation."""
    return succeeded(client, served)


def succeeded(client: httpx.Client, served: Served) -> str:
    ready_model(client, served)
    put_dataset(client)
    id: str = client.post("/v1/jobs", json=job()).json()["id"]
    attempt = served.backend.jobs.start(id, "cpu-0")
    digest = client.get("/v1/datasets/data").json()["digest"]
    stored: Json = summary(id) | {"dataset": {"name": "data", "digest": digest}}
    manifest = served.backend.results.put(stored, MAPS)
    served.backend.jobs.finish(id, attempt or 0, "succeeded", result=dict(manifest))
    return id


@pytest.mark.parametrize(("form", "kind", "start"), [("png", "image/png", b"\x89PNG"), ("svg", "image/svg+xml", b"<?xml")])
@pytest.mark.parametrize("name", ["importance", "heatmap", "leaderboard"])
def test_picture_when_asked_for_then_is_an_image_with_an_etag(
    client: httpx.Client, done: str, name: str, form: str, kind: str, start: bytes
) -> None:
    path = f"/v1/jobs/{done}/plots/{name}.{form}"
    answer = client.get(path)

    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith(kind)
    assert answer.content.startswith(start)
    assert client.get(path, headers={"If-None-Match": answer.headers["etag"]}).status_code == 304
    assert client.get(path, params={"cluster": "=b"}).headers["etag"] != answer.headers["etag"]


def test_heatmap_when_over_the_input_then_is_another_picture(client: httpx.Client, done: str) -> None:
    path = f"/v1/jobs/{done}/plots/heatmap.png"
    plain, over = client.get(path), client.get(path, params={"overlay": True, "cluster": "a", "example": 1})

    assert (plain.status_code, over.status_code) == (200, 200), over.text
    assert plain.content != over.content


def test_overlay_when_drawn_then_the_service_does_not_parse_the_whole_summary(
    client: httpx.Client, served: Served, done: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Result, "model_validate_json", lambda *_, **__: pytest.fail("the summary is parsed"))

    assert client.get(f"/v1/jobs/{done}/plots/heatmap.png?overlay=true&cluster=a").status_code == 200


def test_overlay_when_colours_come_last_then_they_are_what_is_averaged(
    client: httpx.Client, served: Served, tmp_path: Path
) -> None:
    images = np.random.default_rng(0).normal(size=(4, 5, 6, 3))
    image = {"name": "input", "kind": "Input", "shape": [5, 6, 3], "units": 90, "channels": 3, "channel_axis": 2, "cut": True}
    inputs = [{"name": "image", "dtype": "float32", "shape": [None, 5, 6, 3]}]
    ready_model(client, served, inputs=inputs, layers=[image, *MANIFEST["layers"][1:]])
    put_dataset(client, image=images.astype(np.float32))
    id = client.post("/v1/jobs", json=job()).json()["id"]
    record = served.backend.jobs.get(id)
    digests = {name: {"name": name, "digest": client.get(f"/v1/{name}s/{title}").json()["digest"]} for name, title in NAMES}
    stored = Result.model_validate(summary(id) | digests).model_dump_json().encode()
    (tmp_path / "arrays").write_bytes(save({"rows/a": np.array([1, 2])}))

    choice = unitrank_plots.Choice(cluster="a")
    drawn = plots._over_input(record, stored, LocalArrays(tmp_path / "arrays"), choice, served.backend.plots)

    assert drawn.background is not None
    np.testing.assert_allclose(drawn.background, images[1:3].mean((0, 3)), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("picture", "params", "status", "code"),
    [
        ("ablation.png", {}, 422, "no_ablation"),
        ("agreement.png", {}, 422, "one_ranking"),
        ("portrait.png", {}, 404, "not_found"),
        ("heatmap.gif", {}, 404, "not_found"),
        ("heatmap.png", {"cluster": "none"}, 404, "cluster_not_found"),
        ("importance.png", {"ranking": "none"}, 404, "ranking_not_found"),
        ("heatmap.png", {"channel": 9}, 422, "channel_not_found"),
        ("heatmap.png", {"example": 9, "cluster": "a"}, 422, "example_not_found"),
        ("heatmap.png", {"example": 9, "cluster": "a", "overlay": True}, 422, "example_not_found"),
    ],
)
def test_picture_when_it_does_not_exist_then_is_a_problem(
    client: httpx.Client, done: str, picture: str, params: dict[str, Any], status: int, code: str
) -> None:
    assert_problem(client.get(f"/v1/jobs/{done}/plots/{picture}", params=params), status, code)


def test_picture_when_the_dataset_is_gone_then_only_the_overlay_is_refused(client: httpx.Client, done: str) -> None:
    client.delete("/v1/datasets/data")

    assert client.get(f"/v1/jobs/{done}/plots/heatmap.png").status_code == 200
    answer = client.get(f"/v1/jobs/{done}/plots/heatmap.png", params={"overlay": True})
    assert_problem(answer, 404, "dataset_not_found")


@pytest.mark.parametrize(
    "path",
    [
        pytest.param("plots/importance.png", marks=pytest.mark.check),
        "plots/heatmap.png?overlay=true",
        pytest.param("report", marks=pytest.mark.check),
    ],
)
def test_picture_when_the_result_expires_before_it_is_drawn_then_is_expired(
    serve: Callable[..., tuple[httpx.Client, Served]], monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    """The arrays are a blob, which another process deletes after their path was read."""
    client, served = serve(redis_result_bytes=0)
    id = succeeded(client, served)
    location = served.backend.jobs.get(id).result
    array_path = StoredResult.array_path

    @contextmanager
    def expiring(stored: StoredResult) -> Iterator[Path]:
        with array_path(stored) as arrays:
            served.backend.results.delete(location)  # type: ignore[arg-type]
            yield arrays

    monkeypatch.setattr(StoredResult, "array_path", expiring)

    assert_problem(client.get(f"/v1/jobs/{id}/{path}"), 410, "expired")


@pytest.mark.parametrize("path", ["plots/importance.png", pytest.param("report", marks=pytest.mark.check)])
def test_picture_when_drawing_takes_too_long_then_is_a_problem(
    client: httpx.Client, served: Served, done: str, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    monkeypatch.setattr(served.backend.drawing, "seconds", 0.0)

    problem = assert_problem(client.get(f"/v1/jobs/{done}/{path}"), 500, "drawing_too_slow")
    assert "was stopped" in problem["detail"]


def test_picture_when_the_job_has_not_ended_then_is_409(client: httpx.Client, served: Served) -> None:
    ready_model(client, served)
    put_dataset(client)
    id = client.post("/v1/jobs", json=job()).json()["id"]

    assert_problem(client.get(f"/v1/jobs/{id}/plots/leaderboard.png"), 409, "not_finished")
    assert_problem(client.get("/v1/jobs/none/plots/leaderboard.png"), 404, "job_not_found")
