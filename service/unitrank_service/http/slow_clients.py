"""Limits for slow clients, which uvicorn lacks: time to send a request, and size of its head.

    connection made      the head must be complete within header_timeout;
    head complete        the client must send 1 KiB/s, measured over each body_timeout;
    body complete        the application answers.

A client that exceeds a limit gets a status line and is disconnected. The application sees that the
client disconnected. Between two requests uvicorn's timeout for idle connections applies.
"""

import asyncio
from http import HTTPStatus
from typing import Any, Literal

import structlog
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from unitrank_store.settings import Settings

MOST_HEAD_BYTES = 64 * 1024
MIN_RATE = 1024
"""Bytes of a body per second that a client must send on average over `body_seconds`."""


class HeadTooLarge(Exception):
    """The head of the request is too large. Raised inside the parser, which then stops."""


class SlowClientProtocol(HttpToolsProtocol):
    """One connection to a client, with limits.

    `header_seconds`: time until the head must be complete.
    `body_seconds`: period over which the rate of the body is measured.
    """

    header_seconds = 20.0
    body_seconds = 30.0

    def __init__(self, *arguments: Any, **keywords: Any) -> None:  # Any: uvicorn's
        super().__init__(*arguments, **keywords)
        self._part: Literal["head", "body", "none"] = "head"
        self._received = 0
        self._head_too_large = False
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
        super().connection_made(transport)
        self._start_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._part == "none":
            self._enter("head")
        self._received += len(data)
        super().data_received(data)
        if self.transport.is_closing():
            self._stop_timer()
        elif self._part == "head" and self._received > MOST_HEAD_BYTES:
            self._disconnect(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        elif self._part != "none" and self._timer is None:
            self._start_timer()

    def on_headers_complete(self) -> None:
        size = len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
        if size > MOST_HEAD_BYTES:
            self._head_too_large = True
            raise HeadTooLarge
        self._enter("body")
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._enter("none")
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Answer a request at which the parser stopped; uvicorn calls this."""
        if self._head_too_large:
            self._disconnect(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        else:
            super().send_400_response(msg)

    def _enter(self, part: Literal["head", "body", "none"]) -> None:
        self._stop_timer()
        self._part = part
        self._received = 0

    def _start_timer(self) -> None:
        seconds = self.header_seconds if self._part == "head" else self.body_seconds
        self._timer = self.loop.call_later(seconds, self._check_rate)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _check_rate(self) -> None:
        """Start the next period, or disconnect the client if it was too slow in the last one."""
        self._timer = None
        if self.transport.is_closing():
            return
        if self._may_continue():
            if self._part == "body":
                self._received = 0
            self._start_timer()
        else:
            self._disconnect(HTTPStatus.REQUEST_TIMEOUT)

    def _may_continue(self) -> bool:
        # A client is not slow while the service pauses reading or still answers its last request.
        if self.flow.read_paused:
            return True
        if self._part == "head":
            return self.cycle is not None and not self.cycle.response_complete
        return self._received >= MIN_RATE * self.body_seconds

    def _disconnect(self, status: HTTPStatus) -> None:
        """Close the connection, after a response with `status` if no answer has begun."""
        client = self.client[0] if self.client else None
        structlog.get_logger().warning(
            "client disconnected", reason=status.phrase, client=client, part=self._part, bytes=self._received
        )
        self._stop_timer()
        answering = self.cycle is not None and not self.cycle.response_complete and self.cycle.response_started
        idle = self._part == "head" and not self._received
        if not answering and not idle:
            head = f"HTTP/1.1 {status.value} {status.phrase}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
            self.transport.write(head.encode())
        self.transport.close()


def protocol(settings: Settings) -> type[SlowClientProtocol]:
    """Return the class of connections with the operator's limits."""
    times = {"header_seconds": settings.header_timeout, "body_seconds": settings.body_timeout}
    return type("SlowClientProtocol", (SlowClientProtocol,), times)
