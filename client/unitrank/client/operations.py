"""What a call of the client does, a step at a time, without doing it: one telling for the client and its async twin.

A `Flow` is a generator that yields steps and is sent what came of each;
`unitrank.client.transports` has the two that take the steps.
"""

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar

import httpx

from unitrank.client.deadline import NEVER, Deadline

T = TypeVar("T")

# Any: what is sent back depends on the step; the functions below say which it is
Flow = Generator["Step", Any, T]


class OnBytesSent(Protocol):
    """Called with the number of bytes that went since the last call."""

    def __call__(self, count: int, /) -> None: ...


@dataclass(frozen=True)
class Ask:
    """A request that may be sent again; comes back as the response, or as the httpx.RequestError that it ended with.

    `file` is streamed as the body, asking `going` before each piece, which may raise, and telling `sent` after it; a good answer
    is streamed to `target`, where there is one.
    """

    verb: str
    path: str
    params: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    content: bytes | None = None
    file: Path | None = None
    going: Callable[[], None] = lambda: None
    sent: OnBytesSent = lambda count: None
    target: Path | None = None
    seconds: float | None = None
    """How long an answer may take; None: as long as the client's own limit."""
    until: Deadline = NEVER


@dataclass(frozen=True)
class Pause:
    """Comes back after so many seconds."""

    seconds: float


@dataclass(frozen=True)
class Do:
    """Work of this machine that takes a while; comes back as what it returns."""

    work: Callable[[], Any]


Step = Ask | Pause | Do


def asked(ask: Ask) -> Flow[httpx.Response | httpx.RequestError]:
    """What came of one request."""
    came: httpx.Response | httpx.RequestError = yield ask
    return came


def paused(seconds: float) -> Flow[None]:
    """Some time later."""
    yield Pause(seconds)


def done(work: Callable[[], T]) -> Flow[T]:
    """What the work returns."""
    came: T = yield Do(work)
    return came
