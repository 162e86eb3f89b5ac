"""Pages of the origins that the operator names may send requests with a key, and others may not."""

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tests.service.conftest import OWN, Served, assert_problem, job, put_dataset, ready_model

APP = "https://app.example.org"
FOREIGN = ["https://evil.example", "null", "https://app.example.org.evil.example", "http://app.example.org", f"{APP}:8443"]
Serve = Callable[..., tuple[httpx.Client, Served]]


def asked(origin: str = APP, method: str = "POST", headers: str = "authorization,content-type,idempotency-key") -> dict[str, str]:
    """The headers of a preflight."""
    return {"Origin": origin, "Access-Control-Request-Method": method, "Access-Control-Request-Headers": headers}


def test_preflight_when_the_origin_is_named_then_allows_the_request_without_credentials(serve: Serve) -> None:
    client, _ = serve(cors_origins=f"{APP},http://localhost:5173")
    answer = client.options("/v1/jobs", headers=asked())

    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == APP
    assert {"Authorization", "Content-Type", "Idempotency-Key"} <= set(answer.headers["access-control-allow-headers"].split(", "))
    assert answer.headers["access-control-allow-methods"] == "GET, HEAD, POST, PUT, PATCH, DELETE"
    assert "access-control-allow-credentials" not in answer.headers
    assert "Origin" in answer.headers["vary"]
    assert answer.headers["x-request-id"]


@pytest.mark.parametrize(
    "preflight",
    [
        *(asked(origin) for origin in FOREIGN),
        asked(method="LINK"),
        asked(headers="x-http-method-override"),
        asked(headers="cookie"),
    ],
)
def test_preflight_when_the_request_is_not_allowed_then_is_a_problem(serve: Serve, preflight: dict[str, str]) -> None:
    client, _ = serve(cors_origins=APP)
    answer = client.options("/v1/jobs", headers=preflight)

    assert "UNITRANK_CORS_ORIGINS" in assert_problem(answer, 403, "cross_site")["detail"]
    assert "access-control-allow-origin" not in answer.headers


@pytest.mark.check
def test_answer_when_the_origin_is_named_then_the_page_may_read_it_even_an_error(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, served = serve(cors_origins=APP)

    def fail(*_: Any) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(served.backend.of_tenant("default").datasets, "get", fail)
    answers = [client.get(path, headers={"Origin": APP}) for path in ("/healthz", "/v1/models/none", "/v1/datasets/x")]

    assert [answer.status_code for answer in answers] == [200, 404, 500]
    for answer in answers:
        assert answer.headers["access-control-allow-origin"] == APP
        assert "access-control-allow-credentials" not in answer.headers
        assert {"ETag", "Location", "Retry-After"} <= set(answer.headers["access-control-expose-headers"].split(", "))
    for origin in FOREIGN:
        assert "access-control-allow-origin" not in client.get("/healthz", headers={"Origin": origin}).headers


def test_answer_when_no_origin_is_named_then_no_page_may_read_it(client: httpx.Client) -> None:
    assert_problem(client.options("/v1/jobs", headers=asked()), 405, "method_not_allowed")
    assert not [name for name in client.get("/healthz", headers={"Origin": APP}).headers if name.startswith("access-control")]


def test_job_when_a_page_of_a_named_origin_posts_it_then_needs_no_key_on_an_open_service(serve: Serve) -> None:
    client, served = serve(cors_origins=APP)
    ready_model(client, served)
    put_dataset(client)
    named, other = ({"Origin": origin, "Sec-Fetch-Site": "cross-site"} for origin in (APP, FOREIGN[0]))

    assert client.post("/v1/jobs", json=job(), headers=named).status_code == 202
    assert_problem(client.post("/v1/jobs", json=job(), headers=other), 403, "cross_site")


@pytest.mark.parametrize("site", ["same-site", "cross-site", None])
def test_session_when_a_page_of_a_named_origin_sends_the_cookie_then_it_does_not_count(serve: Serve, site: str | None) -> None:
    client, served = serve(cors_origins=APP)
    _, secret = served.backend.keys.create("Ada", ["admin"])
    assert client.post("/signin", data={"key": secret}, headers=OWN).status_code == 303
    page = {"Origin": APP} | ({"Sec-Fetch-Site": site} if site else {})
    form = {"Content-Type": "application/x-www-form-urlencoded"}

    assert client.get("/v1/jobs", headers=OWN).status_code == 200
    assert_problem(client.get("/v1/jobs", headers=page), 401, "unauthorized")
    assert_problem(client.post(f"/v1/jobs/{'0' * 26}/cancel", headers=page), 401, "unauthorized")
    for path in ("/signin", "/signout"):
        assert_problem(client.post(path, headers=page | form, content=b"key=x"), 403, "cross_site")
    with_key = page | {"Authorization": f"Bearer {secret}"}
    assert client.get("/v1/jobs", headers=with_key).status_code == 200
    assert_problem(client.post(f"/v1/jobs/{'0' * 26}/cancel", headers=with_key), 404, "job_not_found")


def test_own_page_when_its_origin_is_named_too_then_keeps_its_session(serve: Serve) -> None:
    client, served = serve(cors_origins="http://localhost:8000")
    _, secret = served.backend.keys.create("Ada", ["admin"])
    own = OWN | {"Origin": "http://localhost:8000", "Host": "localhost:8000"}
    client.post("/signin", data={"key": secret}, headers=OWN)

    assert_problem(client.post(f"/v1/jobs/{'0' * 26}/cancel", headers=own), 404, "job_not_found")
