"""The middleware of every request: ids, log lines, problems for all errors, allowed hosts."""

import re
from typing import Any

import httpx
import pytest
import structlog

from tests.service.conftest import Served, assert_problem


def test_a_request_id_is_made_and_returned(client: httpx.Client) -> None:
    assert re.fullmatch(r"[0-9a-f]{32}", client.get("/healthz").headers["x-request-id"])


def test_a_given_request_id_is_taken_and_logged(client: httpx.Client) -> None:
    with structlog.testing.capture_logs([structlog.contextvars.merge_contextvars]) as lines:
        answer = client.get("/v1/models/none", headers={"X-Request-ID": "abc-1.2:3"})
        # A line is written after its answer was sent, so another request is made first.
        client.get("/healthz")

    assert answer.headers["x-request-id"] == answer.json()["request_id"] == "abc-1.2:3"
    assert (lines[0]["request_id"], lines[0]["path"], lines[0]["status"]) == ("abc-1.2:3", "/v1/models/none", 404)


def test_lines_about_a_job_say_which(client: httpx.Client, served: Served) -> None:
    id = served.backend.jobs.create({"model": "m"}).id
    with structlog.testing.capture_logs() as lines:
        client.get(f"/v1/jobs/{id}")
        client.get("/healthz")

    assert [line.get("job") for line in lines if line["event"] == "request"] == [id, None][: len(lines)]


def test_a_key_is_never_logged(client: httpx.Client, served: Served) -> None:
    _, secret = served.backend.keys.create("ci", ["read"])
    with structlog.testing.capture_logs([structlog.contextvars.merge_contextvars]) as lines:
        for sent in (secret, secret[:-1]):
            client.get("/v1/models", headers={"Authorization": f"Bearer {sent}"})
        client.get(f"/v1/models?key={secret}")
        client.get("/healthz")

    assert len(lines) >= 3
    assert secret[:-1] not in repr(lines)


@pytest.mark.parametrize("given", ["a b", "x" * 200, "a\tb", "{}"])
def test_a_wrong_request_id_is_replaced(client: httpx.Client, given: str) -> None:
    assert client.get("/healthz", headers={"X-Request-ID": given}).headers["x-request-id"] != given


@pytest.mark.parametrize("path", ["/nothing", "/v1", "/v1/nothing", "/redoc", "/v1/models/a/b"])
def test_an_unknown_path_is_a_problem(client: httpx.Client, path: str) -> None:
    assert_problem(client.get(path), 404, "not_found")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("POST", "/v1/models", "GET, HEAD"),
        ("PATCH", "/v1/models/x", "DELETE, GET, HEAD, PUT"),
        ("PUT", "/v1/jobs", "GET, HEAD, POST"),
    ],
)
def test_a_wrong_method_is_a_problem(client: httpx.Client, method: str, path: str, allowed: str) -> None:
    answer = client.request(method, path)

    assert_problem(answer, 405, "method_not_allowed")
    assert answer.headers["allow"] == allowed


def test_an_unexpected_error_is_500_without_its_reason(
    client: httpx.Client, served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("the secret reason")

    monkeypatch.setattr(served.backend.of_tenant("default").models, "get", fail)
    with structlog.testing.capture_logs() as lines:
        answer = client.get("/v1/models/net")

    assert_problem(answer, 500, "internal")
    assert "secret" not in answer.text
    assert [line["log_level"] for line in lines if line["event"] == "unexpected error"] == ["error"]


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8000", "127.0.0.1.evil.example"])
def test_another_host_is_refused_on_loopback(client: httpx.Client, host: str) -> None:
    assert_problem(client.get("/healthz", headers={"Host": host}), 400, "host_not_allowed")


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1:99", "[::1]:8000", "[::1]"])
def test_own_hosts_are_served(client: httpx.Client, host: str) -> None:
    assert client.get("/healthz", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("path", ["/v1/models", "/healthz", "/v1/jobs"])
def test_a_page_of_another_origin_is_never_allowed(client: httpx.Client, path: str) -> None:
    headers = {
        "Origin": "https://evil.example",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "content-type",
    }

    for answer in (client.get(path, headers=headers), client.options(path, headers=headers)):
        assert [name for name in answer.headers if name.startswith("access-control-")] == []
