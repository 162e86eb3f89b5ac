"""One POST to a checked address, without proxy or redirect, with limits of time and size.

The service connects to the checked address. The header `Host`, the server name in TLS and the name
in the certificate are those of the URL.
"""

import ssl
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import httpcore
import httpx

from unitrank_service.webhooks.url_policy import WebhookUrl

CONNECT_SECONDS = 5.0
"""Timeout of the connection to one address."""
MOST_READ = 4096
"""Bytes of an answer's body that are read; the rest is ignored."""


class NoAnswer(Exception):
    """The server sent no answer in time, or an answer that is not HTTP."""


class PinnedPoster:
    """Posts to checked addresses. Certificates are verified with certifi's list or `SSL_CERT_FILE`.

    `seconds`: time for one complete POST. `network`: backend that opens connections.
    `now`: returns the time in seconds from an arbitrary start.
    """

    def __init__(
        self, seconds: float, network: httpcore.NetworkBackend | None = None, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._seconds = seconds
        self._network = network or httpcore.SyncBackend()
        self._now = now

    def post(self, url: WebhookUrl, addresses: Sequence[str], body: bytes, headers: Mapping[str, str]) -> int:
        """Post to the first of the addresses that accepts a connection; return the answer's status.

        Raises NoAnswer if the status could not be read within `seconds`.
        """
        deadline = _Deadline(self._now() + self._seconds, self._now)
        origin = httpcore.Origin(url.scheme.encode(), url.host.encode(), url.port)
        target = httpcore.URL(scheme=origin.scheme, host=origin.host, port=url.port, target=url.target)
        timeout = {"connect": CONNECT_SECONDS, "read": self._seconds, "write": self._seconds}
        context = self._certificates if url.scheme == "https" else None
        network = _PinnedNetwork(self._network, addresses, deadline)
        try:
            with (
                httpcore.HTTPConnection(origin, ssl_context=context, network_backend=network) as connection,
                connection.stream(
                    "POST",
                    target,
                    headers=[("Host", url.authority), *headers.items()],
                    content=body,
                    extensions={"timeout": timeout},
                ) as answer,
            ):
                _read_start(answer)
                return answer.status
        except httpcore.TimeoutException as error:
            raise NoAnswer(f"no answer within {self._seconds:g} s") from error
        except (httpcore.NetworkError, httpcore.ProtocolError, ssl.SSLError) as error:
            raise NoAnswer(f"{type(error).__name__}: {error}"[:200]) from error

    @cached_property
    def _certificates(self) -> ssl.SSLContext:
        return httpx.create_ssl_context()


def _read_start(answer: httpcore.Response) -> None:
    """Read about `MOST_READ` bytes of the body, so that a server can finish a short answer."""
    size = 0
    try:
        for piece in answer.iter_stream():
            size += len(piece)
            if size >= MOST_READ:
                return
    except (httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError):
        # Only the status matters, which was read before.
        return


class _PinnedNetwork(httpcore.NetworkBackend):
    """Ignores the name, and connects to the first of the addresses that accepts a connection."""

    def __init__(self, network: httpcore.NetworkBackend, addresses: Sequence[str], deadline: "_Deadline") -> None:
        self._network = network
        self._addresses = addresses
        self._deadline = deadline

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        last_error: Exception = httpcore.ConnectError("the list of addresses is empty")
        for address in self._addresses:
            try:
                seconds = self._deadline.left(timeout, httpcore.ConnectTimeout)
                stream = self._network.connect_tcp(address, port, seconds, local_address, socket_options)
                return _DeadlineStream(stream, self._deadline)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                last_error = error
        raise last_error

    def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None
    ) -> httpcore.NetworkStream:
        raise httpcore.ConnectError("Unix sockets are not allowed")


class _DeadlineStream(httpcore.NetworkStream):
    """A stream with one deadline for all reads and writes together.

    Timeouts of single reads would not stop a server that sends one byte at a time.
    """

    def __init__(self, stream: httpcore.NetworkStream, deadline: "_Deadline") -> None:
        self._stream = stream
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, self._deadline.left(timeout, httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, self._deadline.left(timeout, httpcore.WriteTimeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        seconds = self._deadline.left(timeout, httpcore.ConnectTimeout)
        return _DeadlineStream(self._stream.start_tls(ssl_context, server_hostname, seconds), self._deadline)

    def get_extra_info(self, info: str) -> Any:
        # Any: httpcore's type
        return self._stream.get_extra_info(info)


@dataclass(frozen=True)
class _Deadline:
    """The time at which a POST must have ended. `at`: that time in seconds, on the clock `now`."""

    at: float
    now: Callable[[], float]

    def left(self, timeout: float | None, error: type[httpcore.TimeoutException]) -> float:
        """Return the seconds until the deadline, at most `timeout`. Raises `error` after it."""
        seconds = self.at - self.now()
        if seconds <= 0:
            raise error("the deadline has passed")
        return seconds if timeout is None else min(seconds, timeout)
