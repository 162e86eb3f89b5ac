"""Keys, scopes, and where the service refuses to start."""

import httpx
import pytest

from service.__main__ import main
from service.guard import Exposed, allowed_hosts, check_exposure, is_loopback
from store.embedded import EmbeddedServer
from store.settings import Settings
from tests.service.conftest import Served, assert_problem, job, put_model

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
    ("host", "own"),
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
def test_loopback_is_told_from_public(host: str, own: bool) -> None:
    assert is_loopback(host) is own
    assert (allowed_hosts(Settings(host=host)) is not None) is own


def test_a_public_address_needs_keys_or_insistence() -> None:
    check_exposure(Settings(host="0.0.0.0"), keys_stored=True)
    check_exposure(Settings(host="0.0.0.0", insecure=True), keys_stored=False)
    check_exposure(Settings(host="127.0.0.1"), keys_stored=False)

    with pytest.raises(Exposed, match="without keys"):
        check_exposure(Settings(host="0.0.0.0"), keys_stored=False)


def test_main_on_a_public_address_without_keys_refuses_to_start(
    redis_url: str, server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("uvicorn.Server.run", lambda *_, **__: pytest.fail("it started"))
    monkeypatch.setattr("store.logs.configure", lambda form: None)

    assert main(["--host", "0.0.0.0", "--redis-url", redis_url]) == 2
