"""Limits of waiting requests: each occupies a connection to the client and one to the store."""

import resource
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from unitrank_service.errors import HttpProblem

OPEN_FILES = 65_536
"""Limit of open files and connections that the process requests from the system."""


class WaitLimits:
    """Counts the waiting requests of each key in this process. It is used by one event loop only.

    `limit`: waiting requests that a key may have at the same time.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._waiting: Counter[str] = Counter()

    def is_reached(self, key: str) -> bool:
        """Whether the key has reached its limit. `key`: the key's id."""
        return self._waiting[key] >= self._limit

    def check(self, key: str) -> None:
        """Raises HttpProblem if the key has reached its limit. `key`: the key's id."""
        if self.is_reached(key):
            detail = (
                f"this key has {self._waiting[key]} waiting requests; at most {self._limit} are allowed: "
                "poll without `wait`, or use a webhook"
            )
            raise HttpProblem("too_many_waits", detail, {"Retry-After": "5"})

    @contextmanager
    def hold(self, key: str) -> Iterator[None]:
        """Count one more waiting request during the block. Raises HttpProblem as `check` does."""
        self.check(key)
        self._waiting[key] += 1
        try:
            yield
        finally:
            self._waiting[key] -= 1
            if not self._waiting[key]:
                del self._waiting[key]


def allow_connections() -> None:
    """Raise the limit of open files, often 1024, to `OPEN_FILES` or the allowed maximum."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < limit:
        # Some systems reject even a limit that is within their own maximum.
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
