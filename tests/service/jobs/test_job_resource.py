"""A job as a resource: reading, listing, cancelling and deleting it."""

from typing import Any

import httpx
import pytest

from tests.service.conftest import Served, assert_problem, ready_model
from tests.service.jobs.conftest import post
from unitrank_schemas.jobs import Job
from unitrank_store.queue.rq_queue import depth, withdraw
from unitrank_store.redis import keyspace


def test_get_shows_the_progress_of_the_worker(client: httpx.Client, served: Served) -> None:
    id = post(client)["id"]
    attempt = served.backend.jobs.start(id, "cpu-0")
    assert attempt
    served.backend.jobs.progress(id, attempt, {"done": 1, "total": 4, "unit": "examples", "stage": "gradient", "eta": 2.0})

    resource = Job.model_validate_json(client.get(f"/v1/jobs/{id}").content)
    assert (resource.status, resource.attempt, resource.worker, resource.position) == ("running", 1, "cpu-0", 0)
    assert resource.progress
    assert resource.progress.done == 1


def test_get_of_a_job_that_a_worker_has_just_taken_has_no_job_before_it(client: httpx.Client, served: Served) -> None:
    id = post(client)["id"]
    withdraw(served.backend.connection, "job", served.backend.jobs.get(id))

    resource = client.get(f"/v1/jobs/{id}").json()

    assert (resource["status"], resource["position"]) == ("queued", 0)


def test_get_returns_the_request_as_it_is_stored(client: httpx.Client, served: Served) -> None:
    id = post(client)["id"]
    served.backend.connection.hset(keyspace.record("job", id), "request", '{"model": "net", "steps": 1.50}')

    assert client.get(f"/v1/jobs/{id}").content.endswith(b'"request":{"model": "net", "steps": 1.50}}')


def test_get_changes_its_etag_with_the_job(client: httpx.Client, served: Served) -> None:
    id = post(client)["id"]
    tag = client.get(f"/v1/jobs/{id}").headers["etag"]
    assert client.get(f"/v1/jobs/{id}", headers={"If-None-Match": tag}).status_code == 304

    served.backend.jobs.start(id, "cpu-0")

    assert client.get(f"/v1/jobs/{id}", headers={"If-None-Match": tag}).status_code == 200


@pytest.mark.parametrize("id", ["x", "0" * 26, "0" * 26 + ":events", "..%2f..", "é"])
def test_requests_for_an_unknown_job_are_404(client: httpx.Client, id: str) -> None:
    for answer in (
        client.get(f"/v1/jobs/{id}"),
        client.get(f"/v1/jobs/{id}", params={"wait": 10}),
        client.get(f"/v1/jobs/{id}/result"),
        client.get(f"/v1/jobs/{id}/events"),
        client.post(f"/v1/jobs/{id}/cancel"),
        client.delete(f"/v1/jobs/{id}"),
    ):
        assert answer.status_code == 404
        assert answer.json()["code"] in ("job_not_found", "not_found")


def test_list_is_newest_first_and_goes_on(client: httpx.Client) -> None:
    ids = [post(client)["id"] for _ in range(3)]

    first = client.get("/v1/jobs", params={"limit": 2}).json()
    second = client.get("/v1/jobs", params={"limit": 2, "after": first["next"]}).json()

    assert [resource["id"] for resource in first["items"] + second["items"]] == ids[::-1]
    assert second["next"] is None


def test_list_by_status_and_model(client: httpx.Client, served: Served) -> None:
    ready_model(client, served, "other")
    cancelled = post(client)["id"]
    client.post(f"/v1/jobs/{cancelled}/cancel")
    other = post(client, model="other")["id"]

    assert [resource["id"] for resource in client.get("/v1/jobs", params={"status": "cancelled"}).json()["items"]] == [cancelled]
    assert [resource["id"] for resource in client.get("/v1/jobs", params={"model": "other"}).json()["items"]] == [other]


@pytest.mark.parametrize("params", [{"limit": 0}, {"limit": 201}, {"limit": "x"}, {"status": "done"}])
def test_list_with_wrong_parameters_is_422(client: httpx.Client, params: dict[str, Any]) -> None:
    assert_problem(client.get("/v1/jobs", params=params), 422, "invalid_parameter", f"/query/{next(iter(params))}")


def test_cancel_of_a_queued_job_ends_it_and_may_be_repeated(client: httpx.Client, served: Served) -> None:
    id = post(client)["id"]

    answers = [client.post(f"/v1/jobs/{id}/cancel") for _ in range(2)]

    assert [(answer.status_code, answer.json()["status"]) for answer in answers] == [(202, "cancelled")] * 2
    assert depth(served.backend.connection) == 0


def test_cancel_of_a_running_job_asks_its_worker(client: httpx.Client, served: Served) -> None:
    id = post(client)["id"]
    served.backend.jobs.start(id, "cpu-0")

    assert client.post(f"/v1/jobs/{id}/cancel").json()["status"] == "cancelling"


def test_delete_of_a_live_job_is_409(client: httpx.Client) -> None:
    id = post(client)["id"]

    assert_problem(client.delete(f"/v1/jobs/{id}"), 409, "job_not_ended")


def test_delete_of_an_ended_job_leaves_nothing(client: httpx.Client) -> None:
    id = post(client)["id"]
    client.post(f"/v1/jobs/{id}/cancel")

    assert client.delete(f"/v1/jobs/{id}").status_code == 204
    assert_problem(client.get(f"/v1/jobs/{id}"), 404, "job_not_found")
