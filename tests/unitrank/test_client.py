"""The HTTP client: what the service says becomes a schema or a typed error."""

import json
from typing import Any

import httpx
import pytest

from unitrank.client import Client
from unitrank.errors import NotSucceeded, Refused, Unreachable

PROBLEM = {
    "title": "Unprocessable Content",
    "status": 422,
    "code": "layer_not_found",
    "detail": "layer 'conv9' not found; nearest: 'conv1'",
    "request_id": "r",
    "errors": [{"pointer": "/layer", "detail": "no such layer"}],
}
MODEL = {"name": "m", "digest": "sha256:" + "0" * 64, "bytes": 1, "status": "ready", "created_at": "2026-01-01T00:00:00Z"}


def test_client_when_refused_then_says_code_detail_and_place() -> None:
    with _client(422, PROBLEM) as client, pytest.raises(Refused) as caught:
        client.result("j")

    assert (caught.value.code, caught.value.exit_code) == ("layer_not_found", 2)
    assert str(caught.value) == "layer_not_found: layer 'conv9' not found; nearest: 'conv1'\n  /layer: no such layer"


def test_client_when_the_service_says_more_than_it_knows_then_reads_the_rest() -> None:
    with _client(200, {**MODEL, "colour": "blue"}) as client:
        assert client.wait_for_model("m").name == "m"


def test_client_when_the_model_is_rejected_then_says_why() -> None:
    problem = {"code": "static_batch", "title": "Rejected", "detail": "export it with a dynamic batch"}
    with _client(200, {**MODEL, "status": "rejected", "problem": problem}) as client, pytest.raises(NotSucceeded) as caught:
        client.wait_for_model("m")

    assert (caught.value.code, caught.value.exit_code) == ("static_batch", 1)
    assert str(caught.value) == "model m: rejected (static_batch): export it with a dynamic batch"


def test_client_when_something_else_answers_then_that_is_no_service() -> None:
    with _client(404, {"detail": "nothing here"}) as client, pytest.raises(Unreachable, match="is that a Unitrank service"):
        client.workers()


def test_client_when_nobody_answers_then_is_unreachable_and_not_ready() -> None:
    with Client("http://127.0.0.1:1") as client:
        assert not client.is_ready()
        with pytest.raises(Unreachable) as caught:
            client.workers()

    assert caught.value.exit_code == 3


def _client(status: int, body: dict[str, Any]) -> Client:
    return Client("http://service", transport=httpx.MockTransport(lambda request: httpx.Response(status, content=json.dumps(body))))
