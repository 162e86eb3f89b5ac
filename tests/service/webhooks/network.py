"""A resolver and a network that a test controls."""

import ssl
from collections.abc import Iterable, Sequence
from typing import Any

import httpcore

from unitrank_service.webhooks.pinned_post import PinnedPoster
from unitrank_service.webhooks.url_policy import UrlPolicy

PUBLIC_6 = "2606:2800:21f:cb07:6820:80da:af6b:8b2c"


PUBLIC = "93.184.215.14"


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


class Resolver:
    """Resolves names from a table. Each lookup takes the name's next answer; the last remains."""

    def __init__(self, **table: Sequence[Sequence[str]]) -> None:
        self.table = {name.replace("_", "."): list(answers) for name, answers in table.items()}
        self.lookups: list[str] = []

    def __call__(self, host: str, port: int) -> Sequence[str]:
        self.lookups.append(host)
        if host not in self.table:
            raise OSError("no such name")
        answers = self.table[host]
        return answers.pop(0) if len(answers) > 1 else answers[0]


class Stream(httpcore.NetworkStream):
    """Reads return the bytes of `answer`; writes are kept in `network.sent`."""

    def __init__(self, network: "Network", answer: bytes) -> None:
        self.network = network
        self.answer = answer

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        piece, self.answer = self.answer[:max_bytes], self.answer[max_bytes:]
        self.network.read += len(piece)
        return piece

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self.network.sent += buffer

    def close(self) -> None:
        self.network.closed += 1

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        assert ssl_context.verify_mode is ssl.CERT_REQUIRED
        assert ssl_context.check_hostname
        self.network.named.append(server_hostname)
        return self

    def get_extra_info(self, info: str) -> Any:
        return None


class Network(httpcore.NetworkBackend):
    """Keeps the addresses of connections. Connecting to a `dead` address fails."""

    def __init__(self, answer: bytes = OK, dead: Iterable[str] = ()) -> None:
        self.answer = answer
        self.dead = set(dead)
        self.connected: list[tuple[str, int]] = []
        self.named: list[str | None] = []
        self.sent = b""
        self.read = 0
        self.closed = 0

    def connect_tcp(
        self, host: str, port: int, timeout: float | None = None, local_address: str | None = None, socket_options: Any = None
    ) -> httpcore.NetworkStream:
        self.connected.append((host, port))
        if host in self.dead:
            raise httpcore.ConnectError("refused")
        return Stream(self, self.answer)


def post(url: str, resolver: Resolver, network: Network, trusted: Sequence[str] = ()) -> int:
    """Check and post as the dispatcher does."""
    url_policy = UrlPolicy(trusted, resolver)
    to = url_policy.check(url)
    return PinnedPoster(5.0, network).post(to, url_policy.addresses(to), b"{}", {"Content-Type": "application/json"})
