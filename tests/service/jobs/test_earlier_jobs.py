"""The same idempotency key, or an equal request, is answered with the earlier job."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.service.conftest import Served, assert_problem, job, put_model, ready_model
from unitrank_store.queue.rq_queue import depth

INLINE = {"fields": {"image": [[[[0.5, 1], [2, 3]]]] * 4, "y": [0, 1, 2, 0]}}


def post(client: httpx.Client, headers: dict[str, str] | None = None, **changes: Any) -> httpx.Response:
    return client.post("/v1/jobs", json=job(**changes), headers=headers)


def end(served: Served, id: str, status: Any = "succeeded") -> None:
    attempt = served.backend.jobs.start(id, "cpu-0")
    assert attempt
    assert served.backend.jobs.finish(id, attempt, status)


def test_equal_request_of_a_job_under_way_is_202_with_that_job(client: httpx.Client, served: Served) -> None:
    first = post(client)
    again = post(client)

    assert (again.status_code, again.json()["id"]) == (202, first.json()["id"])
    assert again.headers["location"] == first.headers["location"]
    assert depth(served.backend.connection) == 1


def test_equal_request_of_a_job_that_succeeded_is_200_with_that_job(client: httpx.Client, served: Served) -> None:
    id = post(client).json()["id"]
    end(served, id)

    again = post(client, timeout=60, priority="high", metadata={"run": 2})

    assert (again.status_code, again.json()["id"], again.json()["status"]) == (200, id, "succeeded")
    assert again.headers["location"] == f"/v1/jobs/{id}"


@pytest.mark.parametrize("dataset", ["data", INLINE])
def test_equal_request_may_name_the_same_contents_in_another_way(client: httpx.Client, served: Served, dataset: Any) -> None:
    digest = client.get("/v1/models/net").json()["digest"]
    put_model(client, "twin")

    ids = {post(client, model=name, dataset=dataset).json()["id"] for name in ("net", "twin", f"net@{digest}")}

    assert len(ids) == 1


@pytest.mark.parametrize(
    "changes",
    [{"seed": 1}, {"methods": ["random"]}, {"keep_examples": 1}, {"timeout": 5}, {"priority": "high"}],
)
def test_another_request_is_another_job(client: httpx.Client, changes: dict[str, Any]) -> None:
    first = post(client)

    assert post(client, **changes).json()["id"] != first.json()["id"]


def test_other_content_under_the_same_name_is_another_job(client: httpx.Client, served: Served) -> None:
    first = post(client)
    ready_model(client, served, body=b"another archive")

    assert post(client).json()["id"] != first.json()["id"]


@pytest.mark.parametrize("status", ["failed", "timed_out"])
def test_equal_request_of_a_job_that_did_not_succeed_is_run_again(client: httpx.Client, served: Served, status: str) -> None:
    id = post(client).json()["id"]
    end(served, id, status)

    again = post(client)

    assert (again.status_code, again.json()["status"]) == (202, "queued")
    assert again.json()["id"] != id


def test_equal_request_of_a_job_that_is_being_cancelled_is_run_again(client: httpx.Client, served: Served) -> None:
    id = post(client).json()["id"]
    served.backend.jobs.start(id, "cpu-0")
    client.post(f"/v1/jobs/{id}/cancel")

    assert post(client).json()["id"] != id


def test_equal_request_of_a_deleted_job_is_run_again(client: httpx.Client, served: Served) -> None:
    id = post(client).json()["id"]
    end(served, id)
    client.delete(f"/v1/jobs/{id}")

    assert served.backend.connection.keys("unitrank:equal:*") == []
    assert post(client).status_code == 202


def test_no_cache_forces_a_new_run_and_the_next_finds_it(client: httpx.Client, served: Served) -> None:
    id = post(client).json()["id"]
    end(served, id)

    forced = post(client, {"Cache-Control": "no-cache"})

    assert forced.status_code == 202
    assert forced.json()["id"] != id
    assert post(client).json()["id"] == forced.json()["id"]


def test_dry_run_of_an_equal_request_is_still_a_dry_run(client: httpx.Client) -> None:
    post(client)

    assert set(client.post("/v1/jobs?dry_run=true", json=job()).json()) == {"request", "estimate"}


def test_the_same_key_and_body_is_the_same_job_however_it_ended(client: httpx.Client, served: Served) -> None:
    key = {"Idempotency-Key": "a key", "Cache-Control": "no-cache"}
    id = post(client, key).json()["id"]
    assert post(client, key).json()["id"] == id

    end(served, id, "failed")

    assert post(client, key).json()["id"] == id
    assert depth(served.backend.connection) == 1


def test_the_same_key_and_body_is_the_same_job_even_if_its_contents_are_gone(client: httpx.Client, served: Served) -> None:
    key = {"Idempotency-Key": "a key"}
    id = post(client, key).json()["id"]
    end(served, id)
    client.delete("/v1/models/net").raise_for_status()

    again = post(client, key)

    assert (again.status_code, again.json()["id"]) == (200, id)
    assert_problem(post(client, key, seed=1), 422, "idempotency_key_reused")
    assert_problem(post(client), 422, "model_not_found", "/model")


def test_the_same_key_with_another_body_is_422_and_makes_nothing(client: httpx.Client, served: Served) -> None:
    key = {"Idempotency-Key": "a key"}
    post(client, key)

    assert_problem(post(client, key, seed=1), 422, "idempotency_key_reused", "/header/idempotency-key")
    assert depth(served.backend.connection) == 1


def test_a_key_is_kept_for_a_job_that_was_there_already(client: httpx.Client) -> None:
    id = post(client).json()["id"]
    key = {"Idempotency-Key": "a key"}

    assert post(client, key).json()["id"] == id
    assert_problem(post(client, key, seed=1), 422, "idempotency_key_reused")


def test_a_key_that_came_with_a_wrong_body_is_free(client: httpx.Client) -> None:
    key = {"Idempotency-Key": "a key"}
    assert_problem(post(client, key, layer="conv9"), 422, "layer_not_found")

    assert post(client, key).status_code == 202


def test_a_key_that_is_too_long_is_422(client: httpx.Client) -> None:
    assert_problem(post(client, {"Idempotency-Key": "k" * 256}), 422, "invalid_parameter")


@pytest.mark.parametrize("dataset", ["data", INLINE])
def test_equal_requests_at_once_make_one_job(client: httpx.Client, served: Served, dataset: Any) -> None:
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: post(client, dataset=dataset), range(60)))

    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert depth(served.backend.connection) == 1
    assert len(served.backend.datasets.holders()) == (0 if dataset == "data" else 1)


def test_requests_under_one_key_at_once_make_one_job(client: httpx.Client, served: Served) -> None:
    key = {"Idempotency-Key": "a key", "Cache-Control": "no-cache"}
    with ThreadPoolExecutor(20) as pool:
        ids = set(pool.map(lambda _: post(client, key).json()["id"], range(60)))

    assert len(ids) == 1
    assert depth(served.backend.connection) == 1
