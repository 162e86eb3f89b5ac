"""How long a client may take to send a request, and how large its head may be: uvicorn sets no bounds to either.

    connection made ── header_timeout ──▶ head complete ── 1 KiB/s over body_timeout ──▶ body complete ──▶ answer

A client that is too slow, or whose head is too large, gets one line and is hung up on; the application then sees that
it has gone. Between two requests uvicorn's own time for idle connections counts.
"""

import asyncio
from http import HTTPStatus
from typing import Any, Literal

import structlog
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from unitrank_store.settings import Settings

MOST_HEAD_BYTES = 64 * 1024
SLOWEST = 1024
"""Bytes a second, over the whole of the time that is given."""


class HeadTooLarge(Exception):
    """The parser stops at it."""


class SlowClientProtocol(HttpToolsProtocol):
    """One connection."""

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
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._part == "none":
            self._enter("head")
        self._received += len(data)
        super().data_received(data)
        if self.transport.is_closing():
            self._stop_waiting()
        elif self._part == "head" and self._received > MOST_HEAD_BYTES:
            self._hang_up(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        elif self._part != "none" and self._timer is None:
            self._wait()

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
        """uvicorn's answer to what its parser stops at."""
        if self._head_too_large:
            self._hang_up(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        else:
            super().send_400_response(msg)

    def _enter(self, part: Literal["head", "body", "none"]) -> None:
        self._stop_waiting()
        self._part = part
        self._received = 0

    def _wait(self) -> None:
        seconds = self.header_seconds if self._part == "head" else self.body_seconds
        self._timer = self.loop.call_later(seconds, self._look)

    def _stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        """The time is over."""
        self._timer = None
        if self.transport.is_closing():
            return
        if self._excused():
            if self._part == "body":
                self._received = 0
            self._wait()
        else:
            self._hang_up(HTTPStatus.REQUEST_TIMEOUT)

    def _excused(self) -> bool:
        # What is not read yet is no client's fault, nor is an answer that it waits for before it goes on.
        if self.flow.read_paused:
            return True
        if self._part == "head":
            return self.cycle is not None and not self.cycle.response_complete
        return self._received >= SLOWEST * self.body_seconds

    def _hang_up(self, status: HTTPStatus) -> None:
        client = self.client[0] if self.client else None
        structlog.get_logger().warning("hung up", reason=status.phrase, client=client, part=self._part, bytes=self._received)
        self._stop_waiting()
        answering = self.cycle is not None and not self.cycle.response_complete and self.cycle.response_started
        idle = self._part == "head" and not self._received
        if not answering and not idle:
            head = f"HTTP/1.1 {status.value} {status.phrase}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
            self.transport.write(head.encode())
        self.transport.close()


def protocol(settings: Settings) -> type[SlowClientProtocol]:
    """The protocol with the operator's times."""
    times = {"header_seconds": settings.header_timeout, "body_seconds": settings.body_timeout}
    return type("SlowClientProtocol", (SlowClientProtocol,), times)
