"""Three services on one store behave as one: sessions, jobs, events, limits and cancellation."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
import redis

from tests.e2e.replicas.conftest import BYTES
from tests.e2e.replicas.installation import Installation, Process
from tests.service.conftest import BROWSER, OWN, job, npz
from tests.support.polling import wait_until
from unitrank_schemas.base import Json
from unitrank_store.access.api_keys import Key, KeyStore
from unitrank_store.jobs.job_store import JobStore

pytestmark = pytest.mark.check


@pytest.fixture
def make_key(connection: redis.Redis) -> Iterator[Callable[..., tuple[Key, str]]]:
    """Makes keys, which are revoked after the test: without keys every request is allowed."""
    keys, ids = KeyStore(connection), list[str]()

    def make(*scopes: str, limit: int | None = None) -> tuple[Key, str]:
        key, secret = keys.create("Ada", scopes, limit=limit)
        ids.append(key.id)
        return key, secret

    yield make
    for id in ids:
        keys.revoke(id)


def at_once(services: Installation, send: Callable[[str], httpx.Response]) -> list[httpx.Response]:
    """The answers of all services to a request that each gets at the same moment."""
    barrier = threading.Barrier(len(services.services))

    def sent(service: Process) -> httpx.Response:
        barrier.wait(30)
        return send(service.url)

    with ThreadPoolExecutor(len(services.services)) as pool:
        return list(pool.map(sent, services.services))


def test_session_when_opened_on_one_service_then_is_valid_on_the_others(
    prepared: Installation, make_key: Callable[..., tuple[Key, str]]
) -> None:
    _, secret = make_key("admin")
    with prepared.client(headers={**BROWSER, **OWN}) as browser:
        assert browser.post("/signin", data={"key": secret}).status_code == 303
        pages = [browser.get(path).status_code for path in ("/", "/models", "/datasets/data", "/new")]
        sent = browser.post("/new", data={"action": "estimate", "model": "net", "dataset": "data", "layer": "conv1"})
        forged = browser.post("/signout", headers={"Sec-Fetch-Site": "cross-site"})
        out = browser.post("/signout")

        assert (pages, sent.status_code, forged.status_code, out.status_code) == ([200] * 4, 200, 403, 303)
        assert [browser.get("/models").status_code for _ in range(3)] == [303] * 3


def test_job_when_posted_to_all_services_at_once_with_one_key_then_is_one_job(prepared: Installation) -> None:
    headers = {"Idempotency-Key": "once", "Cache-Control": "no-cache"}
    answers = at_once(prepared, lambda url: httpx.post(f"{url}/v1/jobs", json=job(seed=1), headers=headers))
    other = httpx.post(f"{prepared.services[1].url}/v1/jobs", json=job(seed=2), headers=headers)

    assert [answer.status_code for answer in answers] == [202] * 3
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")


def test_job_when_equal_ones_are_posted_to_all_services_at_once_then_is_one_job(prepared: Installation) -> None:
    answers = at_once(prepared, lambda url: httpx.post(f"{url}/v1/jobs", json=job(seed=3)))

    assert [answer.status_code for answer in answers] == [202] * 3
    assert len({answer.json()["id"] for answer in answers}) == 1


def test_events_when_followed_on_another_service_then_show_the_job_as_it_runs(
    prepared: Installation, connection: redis.Redis
) -> None:
    first, second, third = (service.url for service in prepared.services)
    id = httpx.post(f"{first}/v1/jobs", json=job(seed=4)).json()["id"]
    jobs = JobStore(connection)
    with httpx.stream("GET", f"{second}/v1/jobs/{id}/events", timeout=30) as answer:
        lines = answer.iter_lines()
        assert "queued" in next(line for line in lines if line.startswith("data"))
        attempt = jobs.start(id, "w") or 0
        assert "running" in next(line for line in lines if line.startswith("data"))
        cursor = {"Last-Event-ID": connection.xrevrange(f"unitrank:job:{id}:events", count=1)[0][0].decode()}
        cancelled = httpx.post(f"{third}/v1/jobs/{id}/cancel")
        assert cancelled.json()["status"] == "cancelling"
        assert "cancelling" in next(line for line in lines if line.startswith("data"))
        jobs.finish(id, attempt, "cancelled")
        assert "cancelled" in next(line for line in lines if line.startswith("data"))
    rest = httpx.get(f"{first}/v1/jobs/{id}/events", headers=cursor).text

    assert [word for word in ("queued", "running", "cancelling", "cancelled") if f'"{word}"' in rest] == ["cancelling", "cancelled"]


def test_wait_when_another_service_cancels_the_job_then_returns_at_once(prepared: Installation, connection: redis.Redis) -> None:
    first, second, third = (service.url for service in prepared.services)
    id = httpx.post(f"{first}/v1/jobs", json=job(seed=5)).json()["id"]
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(httpx.get, f"{second}/v1/jobs/{id}", params={"wait": 60}, timeout=90)
        wait_until(lambda: connection.info("clients")["blocked_clients"], "the service waits for the job")
        answer = httpx.post(f"{third}/v1/jobs/{id}/cancel")
        body: Json = waiting.result(20).json()

    assert (answer.json()["status"], body["status"]) == ("cancelled", "cancelled")


def test_limit_of_a_key_when_jobs_go_to_several_services_then_counts_them_together(
    prepared: Installation, http: httpx.Client, make_key: Callable[..., tuple[Key, str]]
) -> None:
    _, secret = make_key("read", "write", limit=2)
    headers = {"Authorization": f"Bearer {secret}"}
    answers = [http.post("/v1/jobs", json=job(seed=seed), headers=headers) for seed in (10, 11, 12, 13)]

    assert [answer.status_code for answer in answers] == [202, 202, 429, 429]
    http.post(f"/v1/jobs/{answers[0].json()['id']}/cancel", headers=headers)
    assert http.post("/v1/jobs", json=job(seed=14), headers=headers).status_code == 202


def test_names_when_changed_on_one_service_then_are_changed_on_all(prepared: Installation, http: httpx.Client) -> None:
    contents = [npz(image=[[[[0, 0], [0, 0]]]] * rows, y=[0] * rows) for rows in (3, 4, 5)]
    urls = iter(contents)
    lock = threading.Lock()

    def put(url: str) -> httpx.Response:
        with lock:
            content = next(urls)
        return httpx.put(f"{url}/v1/datasets/moving", content=content, headers=BYTES)

    answers = at_once(prepared, put)
    seen = [http.get("/v1/datasets/moving").json()["digest"] for _ in range(3)]
    assert {answer.status_code for answer in answers} <= {200, 201}
    assert len(set(seen)) == 1
    assert http.delete("/v1/datasets/moving").status_code == 204
    assert [http.get("/v1/datasets/moving").status_code for _ in range(3)] == [404] * 3
