"""What is sent again, and when: every request of the client may be, because each is idempotent by itself or by its key."""

import logging
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpx

from unitrank.client.operations import Ask, Flow, asked, paused

log = logging.getLogger("unitrank")

FIRST_SECONDS = 0.2
LONGEST_SECONDS = 15.0
# Who asks for more than this is not waited for: the caller may have something better to do.
LONGEST_ASKED = 120.0
# A pause that somebody who looks on would wonder about is logged.
NOTED_SECONDS = 5.0
AGAIN = frozenset({429, 502, 503, 504})
"""Statuses after which the same request may be taken."""
NEVER_SENT = (httpx.LocalProtocolError, httpx.UnsupportedProtocol)
"""Errors of a request that breaks HTTP itself."""


@dataclass(frozen=True)
class Retries:
    """At most so many times; pauses double, and each is up to half shorter, so that clients do not come back all at once."""

    most: int = 4
    chance: Callable[[], float] = random.random
    quiet: bool = False

    def pause(self, attempt: int, reply: httpx.Response | httpx.RequestError) -> float | None:
        """Seconds until the next attempt; None where there is to be none."""
        if attempt >= self.most or not _passing(reply):
            return None
        seconds = None if isinstance(reply, httpx.RequestError) else retry_after(reply.headers.get("Retry-After"))
        if seconds is not None:
            # As long as was asked for, and a little more, each client another little.
            return seconds + FIRST_SECONDS * self.chance() if seconds <= LONGEST_ASKED else None
        return float(min(FIRST_SECONDS * 2**attempt, LONGEST_SECONDS)) * (1 - self.chance() / 2)

    def patient(self) -> "Retries":
        """For whoever waits for a job: a service that is started anew in the meantime is waited for."""
        return replace(self, most=self.most and max(self.most, 12))


def answered(ask: Ask, retries: Retries) -> Flow[tuple[httpx.Response | httpx.RequestError, int]]:
    """What came of the last attempt, and how many there were; none once the request's deadline has passed."""
    attempt = 0
    while True:
        reply = yield from asked(ask)
        seconds = retries.pause(attempt, reply)
        if seconds is None or ask.until.passed:
            return reply, attempt + 1
        if seconds >= ask.until.left:
            # Nothing is sent sooner than the service asked.
            yield from paused(ask.until.left)
            return reply, attempt + 1
        if seconds >= NOTED_SECONDS:
            reason = f"answered {reply.status_code}" if isinstance(reply, httpx.Response) else f"did not answer ({reply})"
            level = logging.INFO if retries.quiet else logging.WARNING
            log.log(level, "%s %s: the service %s; again in %.0f s", ask.verb, ask.path, reason, seconds)
        yield from paused(seconds)
        attempt += 1


def _passing(came: httpx.Response | httpx.RequestError) -> bool:
    """Whether the same request may have another end."""
    if isinstance(came, httpx.Response):
        return came.status_code in AGAIN
    return not isinstance(came, NEVER_SENT)


def retry_after(header: str | None) -> float | None:
    """Seconds of a Retry-After, which is a number or a date; None where it says neither."""
    if not header:
        return None
    if header.strip().isdigit():
        return float(header)
    try:
        date = parsedate_to_datetime(header)
    except ValueError:
        return None
    return max(0.0, (date - datetime.now(UTC)).total_seconds()) if date.tzinfo else None
