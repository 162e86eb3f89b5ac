"""A call of the client as a sequence of steps, which `Client` and `AsyncClient` share.

A `Flow` is a generator that yields steps and receives each step's outcome. The classes in
`unitrank.client.http.transports` carry the steps out, in this thread or in asyncio.
"""

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar

import httpx

from unitrank.client.http.deadline import NEVER, Deadline

T = TypeVar("T")

# Any: the outcome's type depends on the step; the functions below give each its type.
Flow = Generator["Step", Any, T]


class OnBytesSent(Protocol):
    """Called with the number of bytes that were sent since the last call."""

    def __call__(self, count: int, /) -> None: ...


@dataclass(frozen=True)
class HttpRequest:
    """A request that may be sent again. Outcome: the httpx.Response, or the httpx.RequestError.

    Args:
        verb: the HTTP method.
        path: the path below the service's address.
        params: query parameters; a list repeats its parameter.
        headers: headers beside those of the client.
        content: the body.
        file: a file that is streamed as the body, instead of `content`.
        before_chunk: called before each chunk of the file; may raise.
        on_sent: called with the size of each chunk of the file, in bytes, after it was sent.
        target: a file that a successful answer's body is written to.
        timeout: seconds that the answer may take; None: the client's own limit.
        deadline: when the caller stops waiting.
    """

    verb: str
    path: str
    params: Mapping[str, str | Sequence[str]] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    content: bytes | None = None
    file: Path | None = None
    before_chunk: Callable[[], None] = lambda: None
    on_sent: OnBytesSent = lambda count: None
    target: Path | None = None
    timeout: float | None = None
    deadline: Deadline = NEVER


@dataclass(frozen=True)
class Pause:
    """Waits for `seconds`. Outcome: None."""

    seconds: float


@dataclass(frozen=True)
class Work:
    """Slow work on this machine. Outcome: the value that `function` returns."""

    function: Callable[[], Any]


Step = HttpRequest | Pause | Work


def send(request: HttpRequest) -> Flow[httpx.Response | httpx.RequestError]:
    """Sends the request once."""
    reply: httpx.Response | httpx.RequestError = yield request
    return reply


def pause(seconds: float) -> Flow[None]:
    """Waits for `seconds`."""
    yield Pause(seconds)


def work(function: Callable[[], T]) -> Flow[T]:
    """Calls the function and returns its value."""
    value: T = yield Work(function)
    return value
