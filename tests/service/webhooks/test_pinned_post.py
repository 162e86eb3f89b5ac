"""One POST to a checked address, without proxy or redirect, with limits of time and size."""

from typing import Any

import httpcore
import pytest

from tests.service.webhooks.network import PUBLIC, PUBLIC_6, Network, Resolver, Stream, post
from tests.support.clock import Clock
from unitrank_service.webhooks.pinned_post import MOST_READ, NoAnswer, PinnedPoster
from unitrank_service.webhooks.url_policy import WebhookUrl


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_webhook_when_redirected_then_is_not_followed(status: int) -> None:
    answer = f"HTTP/1.1 {status} Moved\r\nLocation: http://127.0.0.1:6379/\r\nContent-Length: 0\r\n\r\n".encode()
    network = Network(answer)

    assert post("https://hook.example/", Resolver(hook_example=[[PUBLIC]]), network) == status
    assert network.connected == [(PUBLIC, 443)]


def test_webhook_when_proxies_are_set_then_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:3128")
    network = Network()

    post("https://hook.example/", Resolver(hook_example=[[PUBLIC]]), network)
    assert network.connected == [(PUBLIC, 443)]


def test_webhook_when_posted_then_the_name_stays_in_tls_and_in_its_header() -> None:
    network = Network()
    post("https://B\u00fccher.Example:8443/hook?token=a%20b", Resolver(**{"xn--bcher-kva_example": [[PUBLIC_6]]}), network)

    head, _, body = network.sent.partition(b"\r\n\r\n")
    assert network.connected == [(PUBLIC_6, 8443)]
    assert network.named == ["xn--bcher-kva.example"]
    assert head.startswith(b"POST /hook?token=a%20b HTTP/1.1\r\n")
    assert b"\r\nHost: xn--bcher-kva.example:8443\r\n" in head
    assert body == b"{}"
    assert network.closed


def test_webhook_when_its_first_address_is_dead_then_the_next_one_is_tried() -> None:
    network = Network(dead=[PUBLIC_6])

    assert post("https://hook.example/", Resolver(hook_example=[[PUBLIC_6, PUBLIC]]), network) == 200
    assert network.connected == [(PUBLIC_6, 443), (PUBLIC, 443)]


def test_webhook_when_the_answer_is_long_then_only_its_beginning_is_read() -> None:
    network = Network(b"HTTP/1.1 200 OK\r\n\r\n" + bytes(10_000_000))

    assert post("https://hook.example/", Resolver(hook_example=[[PUBLIC]]), network) == 200
    assert network.read < 100 * MOST_READ


@pytest.mark.parametrize("answer", [b"", b"junk\r\n\r\n", b"HTTP/1.1 200 OK\r\nX: " + b"a" * 200_000])
def test_webhook_when_the_answer_is_not_http_then_raises(answer: bytes) -> None:
    with pytest.raises(NoAnswer):
        post("https://hook.example/", Resolver(hook_example=[[PUBLIC]]), Network(answer))


def test_webhook_when_the_answer_comes_byte_by_byte_then_ends_at_the_deadline() -> None:
    clock = Clock()

    class Dripping(Stream):
        def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
            clock.advance(0.01)
            return b"H"

    class Slow(Network):
        def connect_tcp(self, *arguments: Any, **more: Any) -> httpcore.NetworkStream:
            return Dripping(self, b"")

    with pytest.raises(NoAnswer, match="no answer within"):
        PinnedPoster(0.2, Slow(), clock).post(WebhookUrl.parse("https://hook.example/"), [PUBLIC], b"{}", {})
