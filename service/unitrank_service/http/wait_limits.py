"""Answers that are held until something happens: each takes a connection here and one to the store, so a key has its share."""

import resource
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from unitrank_service.errors import HttpProblem

FILES = 65_536


class WaitLimits:
    """Counts the answers that each key has waiting in this process; used by one event loop."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._now: Counter[str] = Counter()

    def check(self, key: str) -> None:
        """Raises HttpProblem where the key has as many waiting answers as it may have."""
        if self._now[key] >= self._most:
            detail = f"{self._now[key]} answers are held for this key; at most {self._most} are: poll, or use a webhook"
            raise HttpProblem("too_many_waits", detail, {"Retry-After": "5"})

    @contextmanager
    def hold(self, key: str) -> Iterator[None]:
        """Count one more waiting answer for as long as the block runs. Raises HttpProblem."""
        self.check(key)
        self._now[key] += 1
        try:
            yield
        finally:
            self._now[key] -= 1
            if not self._now[key]:
                del self._now[key]


def allow_connections() -> None:
    """Let the process have more files and connections than the 1024 that are common, where it may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = FILES if hard == resource.RLIM_INFINITY else min(FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        # A system may allow fewer than it says.
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
