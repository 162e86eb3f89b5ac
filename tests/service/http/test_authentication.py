"""Keys, scopes, and addresses on which the service does not start."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import structlog

from tests.service.conftest import Served, assert_problem, job, put_model
from unitrank_schemas.loopback import is_loopback
from unitrank_service.__main__ import main
from unitrank_service.http.authentication import UnprotectedAddress, allowed_hosts, check_exposure
from unitrank_store.redis.embedded import EmbeddedServer
from unitrank_store.settings import Settings

BYTES = {"Content-Type": "application/octet-stream"}


def bearer(secret: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"}


def test_without_stored_keys_everything_is_open(client: httpx.Client) -> None:
    assert client.get("/v1/models").status_code == 200
    assert client.get("/v1/models", headers=bearer("anything")).status_code == 200
    put_model(client)


def test_with_a_stored_key_a_missing_or_wrong_one_is_401(client: httpx.Client, served: Served) -> None:
    _, secret = served.backend.keys.create("ci", ["read"])

    for headers in ({}, bearer("wrong"), bearer(secret[:-1]), {"Authorization": secret}, {"Authorization": f"Basic {secret}"}):
        answer = client.get("/v1/models", headers=headers)
        assert_problem(answer, 401, "unauthorized")
        assert answer.headers["www-authenticate"].startswith("Bearer")


def test_a_key_comes_before_the_body_is_read(client: httpx.Client, served: Served) -> None:
    served.backend.keys.create("ci", ["read"])

    assert_problem(client.post("/v1/jobs", content=b"{", headers={"Content-Type": "application/json"}), 401, "unauthorized")


@pytest.mark.parametrize(
    ("scope", "allowed"),
    [
        ("read", {"read"}),
        ("write", {"write"}),
        ("models", {"models"}),
        ("admin", {"read", "write", "models"}),
    ],
)
def test_a_key_opens_what_its_scope_says(client: httpx.Client, served: Served, scope: str, allowed: set[str]) -> None:
    _, secret = served.backend.keys.create("ci", [scope])
    headers = bearer(secret)
    answers = {
        "read": client.get("/v1/jobs", headers=headers),
        "write": client.post("/v1/jobs", json=job(), headers=headers),
        "models": client.put("/v1/models/net", content=b"x", headers={**headers, **BYTES}),
    }

    for needed, answer in answers.items():
        if needed in allowed:
            assert answer.status_code not in (401, 403)
        else:
            assert_problem(answer, 403, "forbidden")
            assert f'scope="{needed}"' in answer.headers["www-authenticate"]


def test_health_and_the_page_of_the_api_need_no_key(client: httpx.Client, served: Served) -> None:
    served.backend.keys.create("ci", ["read"])

    assert client.get("/healthz").status_code == 200
    assert client.get("/readyz").status_code == 503
    assert client.get("/openapi.json").status_code == 200


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("10.0.0.1", False),
        ("example.org", False),
    ],
)
def test_loopback_is_distinguished_from_public(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback
    assert (allowed_hosts(Settings(host=host)) is not None) is loopback


@pytest.mark.parametrize(
    ("settings", "served", "refused"),
    [
        (
            {},
            ["localhost:80", "127.0.0.1", "[::1]:1"],
            ["10.0.0.1", "rank.example.org", "", "localhost:80@evil.example", "localhost:x"],
        ),
        ({"hosts": "rank.example.org,Second"}, ["RANK.example.org:443", "second", "localhost"], ["example.org", "10.0.0.1"]),
        (
            {"host": "0.0.0.0", "insecure": True},
            ["localhost", "10.0.0.1:8000", "[fd00::1]:80"],
            ["evil.example", "10.0.0.1.evil.example"],
        ),
        ({"host": "0.0.0.0", "insecure": True, "hosts": "gpubox"}, ["gpubox:8000", "10.0.0.1"], ["gpubox.evil.example"]),
        ({"host": "0.0.0.0", "hosts": "gpubox"}, ["gpubox", "localhost", "10.0.0.1"], ["evil.example"]),
    ],
)
def test_hosts_when_the_operator_names_some_then_these_and_this_machine_are_served(
    settings: dict[str, Any], served: list[str], refused: list[str]
) -> None:
    hosts = allowed_hosts(Settings(**settings))
    assert hosts is not None

    assert [host for host in served + refused if hosts.admit(host)] == served


@pytest.mark.parametrize(
    ("settings", "status"), [({"host": "0.0.0.0"}, 401), ({"host": "0.0.0.0", "insecure": True}, 200), ({}, 200)]
)
def test_key_when_the_last_one_is_revoked_then_a_public_address_still_needs_a_key(
    serve: Callable[..., tuple[httpx.Client, Served]], settings: dict[str, Any], status: int
) -> None:
    client, served = serve(**settings)
    key, secret = served.backend.keys.create("last", ["admin"])
    assert client.get("/v1/jobs", headers=bearer(secret)).status_code == 200
    assert client.get("/v1/jobs").status_code == 401
    served.backend.keys.revoke(key.id)

    assert {client.get("/v1/jobs", headers=headers).status_code for headers in ({}, bearer(secret))} == {status}


def test_a_public_address_needs_keys_or_the_option_insecure() -> None:
    check_exposure(Settings(host="0.0.0.0"), keys_stored=True)
    check_exposure(Settings(host="0.0.0.0", insecure=True), keys_stored=False)
    check_exposure(Settings(host="127.0.0.1"), keys_stored=False)

    with pytest.raises(UnprotectedAddress, match="without keys"):
        check_exposure(Settings(host="0.0.0.0"), keys_stored=False)


def test_main_on_a_public_address_without_keys_refuses_to_start(
    redis_url: str, server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("uvicorn.Server.run", lambda *_, **__: pytest.fail("it started"))
    monkeypatch.setattr("unitrank_store.observability.logs.configure", lambda form: None)

    assert main(["--host", "0.0.0.0", "--redis-url", redis_url]) == 2


def test_main_on_a_public_address_when_the_store_is_down_then_logs_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("uvicorn.Server.run", lambda *_, **__: pytest.fail("it started"))
    monkeypatch.setattr("unitrank_store.observability.logs.configure", lambda form: None)
    monkeypatch.setattr("unitrank_service.__main__.STORE_WAIT_SECONDS", 0.5)

    with structlog.testing.capture_logs() as lines:
        assert main(["--host", "0.0.0.0", "--redis-url", f"unix://{tmp_path}/none"]) == 3
    assert [line["event"] for line in lines] == ["the store does not answer"]
