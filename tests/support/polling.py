"""Waits until another thread or process has done something."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

PATIENCE = 90.0
"""Seconds to wait: enough for a busy machine, and less than the time limit of a test."""
POLL_SECONDS = 0.02


def wait_until(condition: Callable[[], T | None], description: str = "the condition", *, seconds: float = PATIENCE) -> T:
    """The condition's first true value. Raises AssertionError after `seconds` without one.

    `description`: the condition in words, for the error.
    """
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {description}; the last value was {value!r}"
        time.sleep(POLL_SECONDS)
    return value
