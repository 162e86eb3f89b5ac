"""Requests that wait for the end of a job."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.service.conftest import PATIENCE, Served, assert_problem, put_dataset, ready_model
from tests.service.jobs.conftest import PROBLEM, post
from tests.support.polling import wait_until
from unitrank_service.jobs import job_resource


@pytest.mark.parametrize(("params", "headers"), [({"wait": 30}, {}), ({}, {"Prefer": "respond-async, wait=30"})])
def test_get_with_wait_answers_when_the_job_ends(
    client: httpx.Client, served: Served, params: dict[str, int], headers: dict[str, str]
) -> None:
    id = post(client)["id"]
    attempt = served.backend.jobs.start(id, "cpu-0")
    assert attempt

    def end() -> None:
        wait_until(lambda: served.backend.wait_limits._waiting, "the request waits")
        served.backend.jobs.finish(id, attempt, "failed", problem=PROBLEM)

    ending = threading.Thread(target=end)
    ending.start()
    answer = client.get(f"/v1/jobs/{id}", params=params, headers=headers, timeout=20)
    ending.join()

    assert answer.json()["status"] == "failed"


def test_get_with_wait_answers_with_the_state_when_the_time_is_over(client: httpx.Client) -> None:
    id = post(client)["id"]

    assert client.get(f"/v1/jobs/{id}", params={"wait": 0.05}).json()["status"] == "queued"


@pytest.mark.check
def test_many_waits_at_once_are_all_answered(client: httpx.Client, served: Served) -> None:
    id = post(client)["id"]
    limits = httpx.Limits(max_connections=120)

    with httpx.Client(base_url=served.url, timeout=PATIENCE, limits=limits) as crowd, ThreadPoolExecutor(120) as pool:
        answers = list(pool.map(lambda _: crowd.get(f"/v1/jobs/{id}", params={"wait": 1}).json()["status"], range(120)))

    assert answers == ["queued"] * 120


def test_waits_when_a_key_has_reached_its_limit_then_one_more_is_429(serve: Callable[..., tuple[httpx.Client, Served]]) -> None:
    client, served = serve(key_waits=2)
    ready_model(client, served)
    put_dataset(client)
    id = post(client)["id"]

    def wait(_: int) -> str:
        status: str = httpx.get(f"{served.url}/v1/jobs/{id}", params={"wait": 60}, timeout=90).json()["status"]
        return status

    with ThreadPoolExecutor(2) as pool:
        waiting = pool.map(wait, range(2))
        # A check over HTTP could itself be the request that exceeds the limit.
        wait_until(lambda: served.backend.wait_limits._waiting == {"": 2}, "both requests wait")
        answer = client.get(f"/v1/jobs/{id}?wait=0.01")
        events = client.get(f"/v1/jobs/{id}/events")
        unknown = [client.get(f"/v1/jobs/{'0' * len(id)}{rest}") for rest in ("?wait=1", "/events")]
        at_once = client.get(f"/v1/jobs/{id}")
        client.post(f"/v1/jobs/{id}/cancel")
        assert set(waiting) == {"cancelled"}

    for refused in (answer, events):
        assert_problem(refused, 429, "too_many_waits")
        assert int(refused.headers["retry-after"]) > 0
    for missing in unknown:
        assert_problem(missing, 404, "job_not_found")
    assert at_once.json()["status"] == "queued"
    assert client.get(f"/v1/jobs/{id}/events").status_code == 200
    assert served.backend.wait_limits._waiting == {}


def test_get_with_wait_answers_when_the_service_is_about_to_stop(serve: Callable[..., tuple[httpx.Client, Served]]) -> None:
    client, served = serve()
    ready_model(client, served)
    put_dataset(client)
    id = post(client)["id"]
    served.app.state.closing = True

    assert client.get(f"/v1/jobs/{id}", params={"wait": 60}, timeout=20).json()["status"] == "queued"


@pytest.mark.parametrize("wait", ["61", "-1", "x", "nan", "inf"])
def test_get_with_a_wrong_wait_is_422(client: httpx.Client, wait: str) -> None:
    id = post(client)["id"]

    assert_problem(client.get(f"/v1/jobs/{id}", params={"wait": wait}), 422, "invalid_parameter", "/query/wait")


def test_get_with_wait_when_its_key_is_revoked_then_is_401(
    client: httpx.Client, served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    id = post(client)["id"]
    key, secret = served.backend.keys.create("Ada", ["read"])
    headers = {"Authorization": f"Bearer {secret}"}
    assert job_resource.LOOK_SECONDS < 5
    monkeypatch.setattr(job_resource, "LOOK_SECONDS", 0.1)

    def revoke() -> None:
        wait_until(lambda: served.backend.wait_limits._waiting, "the request waits")
        served.backend.keys.revoke(key.id)

    revoking = threading.Thread(target=revoke)
    revoking.start()
    answer = client.get(f"/v1/jobs/{id}", params={"wait": 60}, headers=headers, timeout=20)
    revoking.join()

    assert_problem(answer, 401, "unauthorized")
