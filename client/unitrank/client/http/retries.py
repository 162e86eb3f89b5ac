"""Which requests are sent again, and when.

Every request of the client may be repeated: it is idempotent, or has an idempotency key.
"""

import logging
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpx

from unitrank.client.http.operations import Flow, HttpRequest, pause, send

log = logging.getLogger("unitrank")

FIRST_SECONDS = 0.2
LONGEST_SECONDS = 15.0
# With a longer Retry-After, the client does not wait: it raises the error at once.
LONGEST_RETRY_AFTER = 120.0
# A pause of this length or more is logged, because a user would wonder about it.
LOGGED_SECONDS = 5.0
RETRIED_STATUSES = frozenset({429, 502, 503, 504})
"""Statuses after which the same request may succeed."""
PROTOCOL_ERRORS = (httpx.LocalProtocolError, httpx.UnsupportedProtocol)
"""Errors of a request that itself breaks HTTP."""


@dataclass(frozen=True)
class Retries:
    """How often a request is repeated, and after which pauses.

    The pauses double from 0.2 s to 15 s. Each is shortened by a random share of up to one half,
    so that many clients do not come back at the same moment.

    Args:
        limit: the number of repeats.
        draw: returns a random number from 0 to 1, which shortens a pause.
        quiet: long pauses are logged as information, not as warnings.
    """

    limit: int = 4
    draw: Callable[[], float] = random.random
    quiet: bool = False

    def pause(self, attempt: int, reply: httpx.Response | httpx.RequestError) -> float | None:
        """Seconds until the next attempt; None if the request is not repeated."""
        if attempt >= self.limit or not _is_transient(reply):
            return None
        seconds = None if isinstance(reply, httpx.RequestError) else retry_after(reply.headers.get("Retry-After"))
        if seconds is not None:
            # The pause that the service asked for, and up to 0.2 s more, different for each client.
            return seconds + FIRST_SECONDS * self.draw() if seconds <= LONGEST_RETRY_AFTER else None
        return float(min(FIRST_SECONDS * 2**attempt, LONGEST_SECONDS)) * (1 - self.draw() / 2)

    def while_waiting(self) -> "Retries":
        """The retries of a call that waits for a job.

        There are at least 12 repeats, so that the wait survives a restart of the service. A client
        without repeats (a limit of 0) stays without them.
        """
        return replace(self, limit=self.limit and max(self.limit, 12))


def send_with_retries(request: HttpRequest, retries: Retries) -> Flow[tuple[httpx.Response | httpx.RequestError, int]]:
    """The outcome of the last attempt, and the number of attempts.

    No attempt begins after the request's deadline.
    """
    attempt = 0
    while True:
        reply = yield from send(request)
        seconds = retries.pause(attempt, reply)
        if seconds is None or request.deadline.passed:
            return reply, attempt + 1
        if seconds >= request.deadline.left:
            # The next attempt would begin after the deadline: wait until the deadline only.
            yield from pause(request.deadline.left)
            return reply, attempt + 1
        if seconds >= LOGGED_SECONDS:
            reason = f"answered {reply.status_code}" if isinstance(reply, httpx.Response) else f"did not answer ({reply})"
            level = logging.INFO if retries.quiet else logging.WARNING
            log.log(level, "%s %s: the service %s; next attempt in %.0f s", request.verb, request.path, reason, seconds)
        yield from pause(seconds)
        attempt += 1


def _is_transient(reply: httpx.Response | httpx.RequestError) -> bool:
    """Whether the same request may succeed later."""
    if isinstance(reply, httpx.Response):
        return reply.status_code in RETRIED_STATUSES
    return not isinstance(reply, PROTOCOL_ERRORS)


def retry_after(header: str | None) -> float | None:
    """Seconds of a Retry-After header, which is a number or a date; None for any other value."""
    if not header:
        return None
    if header.strip().isdigit():
        return float(header)
    try:
        date = parsedate_to_datetime(header)
    except ValueError:
        return None
    return max(0.0, (date - datetime.now(UTC)).total_seconds()) if date.tzinfo else None
