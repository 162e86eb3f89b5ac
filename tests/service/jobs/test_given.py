"""Jobs with given scores: their datasets are found, checked, pinned and part of the fingerprint."""

from typing import Any

import httpx
import numpy as np
import pytest

from tests.service.conftest import Served, assert_problem, job, put_dataset
from tests.service.jobs.conftest import post
from unitrank_store.contents.datasets import DatasetStore
from unitrank_store.contents.waiting_jobs import dataset_arrived, repoint_to_dataset
from unitrank_store.queue.rq_queue import depth

MINE: dict[str, Any] = {"name": "given", "scores": "mine"}
SCORES: dict[str, Any] = {"importance": np.arange(16.0)[None], "cluster": np.array(["all"])}


def test_post_when_it_names_a_dataset_of_scores_then_the_job_keeps_its_content(client: httpx.Client, served: Served) -> None:
    digest = put_dataset(client, "mine", **SCORES)["digest"]
    id = post(client, methods=["gradient", MINE])["id"]
    record = served.backend.jobs.get(id)

    assert record.resolved["further"] == {"mine": {"name": "mine", "digest": digest}}
    assert digest in record.needs
    assert record.resolved["checked"]
    assert_problem(client.delete("/v1/datasets/mine"), 409, "dataset_in_use")


def test_post_when_equal_scores_have_another_name_then_it_is_the_same_job(client: httpx.Client) -> None:
    put_dataset(client, "mine", **SCORES)
    put_dataset(client, "copy", **SCORES)
    first, copy, exact = (
        client.post("/v1/jobs", json=job(methods=[MINE | {"scores": name}])).json()["id"]
        for name in ("mine", "copy", f"mine@{client.get('/v1/datasets/mine').json()['digest']}")
    )
    put_dataset(client, "mine", **SCORES | {"importance": np.ones((1, 16))})
    changed = client.post("/v1/jobs", json=job(methods=[MINE])).json()["id"]

    assert first == copy == exact != changed


FLAWED: list[tuple[dict[str, Any], str]] = [
    ({"importance": np.ones((1, 15)), "cluster": np.array(["all"])}, "wrong_shape"),
    ({"importance": np.array([["a"] * 16]), "cluster": np.array(["all"])}, "wrong_dtype"),
    ({"importance": np.ones((1, 16)), "cluster": np.array([0.5])}, "wrong_dtype"),
    ({"importance": np.ones((2, 16)), "clusters": np.array(["all", "b"])}, "field_not_found"),
    ({"importance": np.ones((2, 16)), "cluster": np.array(["all", "all"])}, "duplicate_cluster"),
    ({"importance": np.ones((2, 16)), "cluster": np.array(["all", "b"])}, "cluster_unknown"),
    ({"importance": np.ones((1, 16)), "cluster": np.array([0])}, "cluster_missing"),
]


@pytest.mark.parametrize(("fields", "code"), FLAWED)
def test_post_when_the_dataset_of_scores_does_not_fit_then_is_422(client: httpx.Client, fields: dict[str, Any], code: str) -> None:
    put_dataset(client, "mine", **fields)

    answer = client.post("/v1/jobs", json=job(methods=["gradient", MINE]))

    assert code in {error["code"] for error in assert_problem(answer, 422, answer.json()["code"], "/methods/1/scores")["errors"]}


def test_post_when_the_dataset_of_scores_does_not_exist_then_is_422(client: httpx.Client) -> None:
    answer = client.post("/v1/jobs", json=job(methods=["gradient", MINE]))

    problem = assert_problem(answer, 422, "dataset_not_found", "/methods/1/scores")
    assert "PUT /v1/datasets/{name}" in problem["detail"]


@pytest.mark.parametrize("value", ["NaN", "1e999"])
def test_post_when_a_given_number_is_not_finite_then_is_422(client: httpx.Client, value: str) -> None:
    body = job(methods=[{"name": "given", "importance": {"all": [0.0, "HERE"]}}])
    text = str(body).replace("'HERE'", value).replace("'", '"')

    answer = client.post("/v1/jobs", content=text, headers={"Content-Type": "application/json"})

    assert_problem(answer, 422, "number_not_finite", "/methods/0/importance/all/1")


@pytest.mark.usefixtures("idle_importer")
def test_post_when_the_dataset_of_scores_is_still_imported_then_the_job_waits_for_it(client: httpx.Client, served: Served) -> None:
    backend = served.backend
    late = backend.datasets.begin("late", "file:///late.npz")
    id = post(client, methods=[MINE | {"scores": "late"}])["id"]
    dataset = backend.jobs.get(id).resolved["dataset"]
    assert depth(backend.connection) == 0
    assert not backend.jobs.get(id).resolved["checked"]

    arrive(backend.datasets, served, late.digest)

    record = backend.jobs.get(id)
    assert depth(backend.connection) == 1
    assert record.resolved["further"]["late"]["digest"] == backend.datasets.get("late").digest in record.needs
    # The job's own dataset was ready, and stays as it is.
    assert record.resolved["dataset"] == dataset


def test_post_when_the_rows_of_an_inline_dataset_all_made_the_scores_then_is_422(client: httpx.Client) -> None:
    image = np.zeros((4, 1, 2, 2)).tolist()
    dataset = {"fields": {"image": image, "a": [True, True, False, False], "b": [False, False, True, True]}}
    methods = [{"name": "given", "importance": [1.0] * 16, "made_on": name} for name in ("a", "b")]

    answer = client.post("/v1/jobs", json=job(dataset=dataset, methods=methods))

    assert_problem(answer, 422, "made_on_leaves_none", "/methods/0/made_on")
    assert client.post("/v1/jobs", json=job(dataset=dataset, methods=methods[:1])).status_code == 202


def arrive(datasets: DatasetStore, served: Served, key: str) -> None:
    """End the import of the dataset of scores, as the importer does."""
    backend = served.backend
    digest = put_content(served)
    content = backend.datasets.content(digest)
    assert content.fields is not None
    datasets.arrived(
        key,
        digest,
        content.bytes,
        content.fields,
        1,
        "npz",
        repoint=lambda arrived: repoint_to_dataset(backend.jobs, key, arrived),
    )
    dataset_arrived(backend.connection, backend.jobs, key)


def put_content(served: Served) -> str:
    with httpx.Client(base_url=served.url) as client:
        return str(put_dataset(client, "other", **SCORES)["digest"])
