"""`GET /v1/jobs` with filters, order and summaries, and `PATCH /v1/jobs/{id}`."""

from typing import Any

import httpx
import pytest

from tests.service.conftest import Served, SignIn, assert_problem, job
from tests.service.jobs.conftest import post

SUMMARY = {"best": "gradient", "verdict": "better_than_random", "robust": True, "area": 0.75, "clusters": 3}


def succeed(served: Served, id: str, **changes: Any) -> None:
    """End a job as a worker does, with its summary."""
    served.backend.jobs.finish(id, served.backend.jobs.start(id, "cpu-0") or 0, "succeeded", summary=SUMMARY | changes)


def listed(client: httpx.Client, query: str) -> list[str]:
    """The ids of a list."""
    answer = client.get(f"/v1/jobs?{query}")
    assert answer.status_code == 200, answer.text
    return [each["id"] for each in answer.json()["items"]]


def test_list_when_filtered_and_sorted_then_gives_the_jobs_with_their_summaries(client: httpx.Client, served: Served) -> None:
    first = post(client, metadata={"name": "Digits, first try", "team": "vision"})["id"]
    second = post(client, layer="fc", seed=1, metadata={"tags": ["paper"]})["id"]
    third = post(client, seed=2)["id"]
    succeed(served, first)
    succeed(served, second, area=0.25, verdict="no_better_than_random", robust=False)

    assert listed(client, "") == [third, second, first]
    assert listed(client, "layer=fc") == [second]
    assert listed(client, "dataset=data&model=net") == [third, second, first]
    assert listed(client, "dataset=other") == []
    assert listed(client, "verdict=better_than_random") == listed(client, "verdict=robust") == [first]
    assert listed(client, "metadata.team=vision") == listed(client, "text=DIGITS%20try") == [first]
    assert listed(client, "metadata.tags=paper") == [second]
    assert listed(client, "sort=area") == listed(client, "sort=-area") == [first, second, third]
    assert listed(client, "sort=area&order=asc") == [second, first, third]
    assert listed(client, "sort=created_at&order=asc") == [first, second, third]
    page = client.get("/v1/jobs?sort=area&limit=1").json()
    assert listed(client, f"sort=area&limit=1&after={page['next']}") == [second]
    summaries = [each["summary"] for each in client.get("/v1/jobs").json()["items"]]
    assert summaries == [None, SUMMARY | {"area": 0.25, "verdict": "no_better_than_random", "robust": False}, SUMMARY]
    assert client.get(f"/v1/jobs/{first}").json()["summary"] == SUMMARY


@pytest.mark.parametrize(
    "query",
    [
        "verdict=good",
        "sort=name",
        "order=up",
        "status=done",
        f"text={'x' * 1001}",
        f"text={'+'.join('abcdefghijk')}",
        f"metadata.x={'y' * 1001}",
        "&".join(f"metadata.{number}=x" for number in range(21)),
    ],
)
def test_list_when_a_filter_is_invalid_then_is_422(client: httpx.Client, query: str) -> None:
    problem = assert_problem(client.get(f"/v1/jobs?{query}"), 422, "invalid_parameter")

    assert problem["errors"][0]["pointer"].startswith("/query")


def test_metadata_when_patched_then_change_and_equal_requests_still_get_the_job(client: httpx.Client, served: Served) -> None:
    resource = client.post("/v1/jobs", json=job(metadata={"name": "old", "gone": 1}), headers={"Idempotency-Key": "k"}).json()
    path = f"/v1/jobs/{resource['id']}"
    changed = client.patch(path, json={"metadata": {"name": "new", "gone": None, "tags": ["a"], "notes": "see §3"}})

    assert changed.status_code == 200, changed.text
    assert changed.json()["request"]["metadata"] == {"name": "new", "tags": ["a"], "notes": "see §3"}
    assert changed.json() == client.get(path).json()
    assert changed.headers["etag"] == client.get(path).headers["etag"]
    succeed(served, resource["id"])
    assert client.post("/v1/jobs", json=job()).json()["id"] == resource["id"]
    again = client.post("/v1/jobs", json=job(metadata={"name": "old", "gone": 1}), headers={"Idempotency-Key": "k"})
    assert again.json()["id"] == resource["id"]
    assert listed(client, "text=new") == [resource["id"]]
    assert listed(client, "text=old") == []


@pytest.mark.parametrize(
    ("metadata", "detail"),
    [
        ({str(number): 1 for number in range(64)}, "with these changes the metadata has 65 entries; at most 64 are allowed"),
        ({"x": "y" * 65_536}, "at most 65536 are allowed"),
    ],
)
def test_metadata_when_too_large_then_are_422_and_stay(client: httpx.Client, metadata: dict[str, Any], detail: str) -> None:
    resource = post(client, metadata={"name": "kept"})
    problem = assert_problem(
        client.patch(f"/v1/jobs/{resource['id']}", json={"metadata": metadata}), 422, "invalid_request", "/metadata"
    )

    assert detail in problem["detail"]
    assert client.get(f"/v1/jobs/{resource['id']}").json()["request"]["metadata"] == {"name": "kept"}


def test_metadata_when_the_job_or_the_body_is_wrong_then_is_a_problem(client: httpx.Client) -> None:
    id = post(client)["id"]

    assert_problem(client.patch("/v1/jobs/" + "0" * 26, json={"metadata": {}}), 404, "job_not_found")
    assert_problem(client.patch(f"/v1/jobs/{id}", json={"metadata": {}, "layer": "fc"}), 422, "unknown_field")
    assert_problem(client.patch(f"/v1/jobs/{id}", content=b"{}"), 415, "unsupported_media_type")


def test_jobs_when_keys_exist_then_name_the_sender_and_stay_within_their_tenant(
    client: httpx.Client, served: Served, signed_in: SignIn
) -> None:
    _, ours = served.backend.keys.create("Ada", ["read", "write"])
    _, reader = served.backend.keys.create("reader", ["read"])
    _, theirs = served.backend.keys.create("Eve", ["admin"], "theirs")
    client.headers["Authorization"] = f"Bearer {ours}"
    resource = post(client, metadata={"name": "secret"})
    path = f"/v1/jobs/{resource['id']}"

    assert resource["submitted_by"] == "Ada"
    assert listed(client, "text=ada") == [resource["id"]]
    assert_problem(client.patch(path, json={"metadata": {}}, headers={"Authorization": f"Bearer {reader}"}), 403, "forbidden")
    client.headers["Authorization"] = f"Bearer {theirs}"
    assert_problem(client.patch(path, json={"metadata": {}}), 404, "job_not_found")
    assert listed(client, "text=secret") == listed(client, "sort=area") == []
