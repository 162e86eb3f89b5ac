"""One POST to one of the addresses that were checked: no proxy, no redirect, and an end to time and to size.

The connection goes to the address, while the `Host` header, TLS's name and the certificate are those of the URL.
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
MOST_READ = 4096
"""Bytes of an answer's body; the rest is left."""


class NoAnswer(Exception):
    """There was none that could be read."""


class PinnedPoster:
    """`seconds` is what one POST may take, all in all. Certificates: those of certifi, or of `SSL_CERT_FILE`."""

    def __init__(
        self, seconds: float, network: httpcore.NetworkBackend | None = None, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._seconds = seconds
        self._network = network or httpcore.SyncBackend()
        self._now = now

    def post(self, to: WebhookUrl, addresses: Sequence[str], body: bytes, headers: Mapping[str, str]) -> int:
        """The status of the answer, whatever it is. Raises NoAnswer."""
        deadline = _Deadline(self._now() + self._seconds, self._now)
        origin = httpcore.Origin(to.scheme.encode(), to.host.encode(), to.port)
        url = httpcore.URL(scheme=origin.scheme, host=origin.host, port=to.port, target=to.target)
        timeout = {"connect": CONNECT_SECONDS, "read": self._seconds, "write": self._seconds}
        context = self._certificates if to.scheme == "https" else None
        network = _PinnedNetwork(self._network, addresses, deadline)
        try:
            with (
                httpcore.HTTPConnection(origin, ssl_context=context, network_backend=network) as connection,
                connection.stream(
                    "POST",
                    url,
                    headers=[("Host", to.authority), *headers.items()],
                    content=body,
                    extensions={"timeout": timeout},
                ) as answer,
            ):
                _skim(answer)
                return answer.status
        except httpcore.TimeoutException as error:
            raise NoAnswer("there was no answer in time") from error
        except (httpcore.NetworkError, httpcore.ProtocolError, ssl.SSLError) as error:
            raise NoAnswer(f"{type(error).__name__}: {error}"[:200]) from error

    @cached_property
    def _certificates(self) -> ssl.SSLContext:
        return httpx.create_ssl_context()


def _skim(answer: httpcore.Response) -> None:
    """Take a little of the body, so that a server that has written it is not hung up on."""
    size = 0
    try:
        for piece in answer.iter_stream():
            size += len(piece)
            if size >= MOST_READ:
                return
    except (httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError):
        # The status has said it all.
        return


class _PinnedNetwork(httpcore.NetworkBackend):
    """Connects to the first of the addresses that answers, whatever name is asked for."""

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
        failed: Exception = httpcore.ConnectError("there is no address")
        for address in self._addresses:
            try:
                left = self._deadline.left(timeout, httpcore.ConnectTimeout)
                stream = self._network.connect_tcp(address, port, left, local_address, socket_options)
                return _DeadlineStream(stream, self._deadline)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failed = error
        raise failed

    def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None
    ) -> httpcore.NetworkStream:
        raise httpcore.ConnectError("no sockets of this machine")


class _DeadlineStream(httpcore.NetworkStream):
    """A stream on which everything together has one end: a server that answers a byte at a time gains nothing."""

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
        left = self._deadline.left(timeout, httpcore.ConnectTimeout)
        return _DeadlineStream(self._stream.start_tls(ssl_context, server_hostname, left), self._deadline)

    def get_extra_info(self, info: str) -> Any:
        # Any: as httpcore declares it
        return self._stream.get_extra_info(info)


@dataclass(frozen=True)
class _Deadline:
    """`at`: the time, as `now` tells it in seconds, at which a POST must have ended."""

    at: float
    now: Callable[[], float]

    def left(self, timeout: float | None, over: type[httpcore.TimeoutException]) -> float:
        """The seconds until the POST must have ended, at most `timeout`. Raises `over` where that time has passed."""
        left = self.at - self.now()
        if left <= 0:
            raise over("the time is over")
        return left if timeout is None else min(left, timeout)
