"""The checks of a request before a job is made, and the estimate of a dry run."""

from collections.abc import Callable
from typing import Any

import httpx
import numpy as np
import pytest

from tests.service.conftest import Served, assert_problem, job, put_dataset, put_model, ready_model
from tests.service.jobs.conftest import PROBLEM, post
from unitrank_schemas.jobs import DryRun
from unitrank_store.queue.rq_queue import depth


def test_post_fills_the_defaults_that_model_and_dataset_decide(client: httpx.Client) -> None:
    request = post(client, methods=["gradient", "gradient", {"name": "gradient", "statistic": "rms"}])["request"]

    assert request["inputs"] == {"image": "image"}
    assert (request["labels"], request["output"], request["target"]["class"]) == ("y", "output", "label")
    assert [method["id"] for method in request["methods"]] == ["gradient", "gradient-2", "gradient.rms"]


def test_dry_run_estimates_and_creates_nothing(client: httpx.Client, served: Served) -> None:
    answer = client.post("/v1/jobs", params={"dry_run": True}, json=job())

    assert answer.status_code == 200
    dry_run = DryRun.model_validate_json(answer.content)
    assert dry_run.estimate.passes > 10
    assert dry_run.estimate.seconds > 0
    assert dry_run.estimate.result_bytes > 2 * 16 * 4
    assert depth(served.backend.connection) == 0
    assert client.get("/v1/jobs").json()["items"] == []


def test_post_with_an_inline_dataset_keeps_it_as_long_as_the_job(client: httpx.Client, served: Served) -> None:
    resource = post(client, dataset={"fields": {"image": [[[[0.5, 1], [2, 3]]]] * 4, "y": [0, 1, 2, 0]}}, clusters={"by": "label"})
    digest = served.backend.jobs.get(resource["id"]).resolved["dataset"]["digest"]

    assert served.backend.datasets.content(digest).examples == 4
    client.post(f"/v1/jobs/{resource['id']}/cancel")
    assert client.delete(f"/v1/jobs/{resource['id']}").status_code == 204
    assert not served.backend.blobs.exists(digest)


def test_post_with_a_ragged_inline_dataset_points_into_it(client: httpx.Client) -> None:
    answer = client.post("/v1/jobs", json=job(dataset={"fields": {"image": [[1, 2], [1]]}}))

    assert_problem(answer, 422, "ragged_field", "/dataset/fields/image/1")


def test_post_with_a_large_inline_dataset_is_too_large(client: httpx.Client) -> None:
    answer = client.post("/v1/jobs", json=job(dataset={"fields": {"image": [0.123456789] * 150_000}}))

    assert_problem(answer, 413, "dataset_too_large", "/dataset")


def test_post_on_a_rejected_model_is_422(client: httpx.Client, served: Served) -> None:
    digest = put_model(client, "bad", b"bad archive")["digest"]
    served.backend.models.reject(digest, PROBLEM)

    assert_problem(client.post("/v1/jobs", json=job(model="bad")), 422, "model_rejected", "/model")


@pytest.mark.parametrize(
    ("changes", "code", "pointer"),
    [
        ({"model": "other"}, "model_not_found", "/model"),
        ({"dataset": "other"}, "dataset_not_found", "/dataset"),
        ({"layer": "conv9"}, "layer_not_found", "/layer"),
        ({"clusters": {"by": "members", "members": {"a": [0, 10]}}}, "member_out_of_range", "/clusters/members/a/1"),
        ({"target": {"class": 3}}, "class_out_of_range", "/target/class"),
    ],
)
def test_post_that_the_checks_refuse_is_422(
    client: httpx.Client, served: Served, changes: dict[str, Any], code: str, pointer: str
) -> None:
    assert_problem(client.post("/v1/jobs", json=job(**changes)), 422, code, pointer)
    assert depth(served.backend.connection) == 0


def test_post_of_too_large_a_result_is_422(serve: Callable[..., tuple[httpx.Client, Served]]) -> None:
    client, served = serve(max_result_bytes=1000)
    ready_model(client, served)
    put_dataset(client)

    assert_problem(client.post("/v1/jobs", json=job()), 422, "result_too_large", "/ablation")


def test_post_when_the_metadata_is_large_is_422(client: httpx.Client) -> None:
    assert client.post("/v1/jobs", json=job(metadata={"a": "x" * 65_000})).status_code == 202

    answer = client.post("/v1/jobs", json=job(metadata={"a": "x" * 66_000}))
    assert_problem(answer, 422, "invalid_request", "/metadata")
    assert "at most 65536 are allowed" in answer.json()["errors"][0]["detail"]


def test_post_when_the_stored_dataset_is_damaged_then_is_dataset_corrupt_until_it_is_put_again(
    served: Served, client: httpx.Client
) -> None:
    """The service reads the labels, to list the clusters."""
    ready_model(client, served)
    labels = np.arange(40) % 3
    fields = {"image": np.zeros((40, 1, 2, 2), np.uint8), "y": labels}
    path = served.backend.blobs.path(put_dataset(client, **fields)["digest"])
    content = path.read_bytes()
    path.write_bytes(content.replace(labels.tobytes(), bytes(labels.nbytes)))

    request = job(clusters={"by": "field", "field": "y"}, dataset="data")
    assert_problem(client.post("/v1/jobs", json=request), 500, "dataset_corrupt")
    put_dataset(client, **fields)
    answer = client.post("/v1/jobs", json=request)
    assert answer.status_code == 202, answer.text
