"""Goals of a benchmark. A missed goal is printed and makes the exit status 1."""

import time
from collections.abc import Callable, Sequence

LOST_SECONDS = 180.0
"""A job that has not ended after this time counts as lost, in seconds."""


def report_missed(missed: Sequence[str]) -> None:
    """Print each missed goal. Raises SystemExit with status 1 if there are any."""
    for each in missed:
        print(f"GOAL MISSED: {each}")
    if missed:
        raise SystemExit(1)


def ends(is_over: Callable[[], bool], seconds: float = LOST_SECONDS) -> bool:
    """Whether `is_over` returns true within `seconds`.

    It is called without a pause: it must wait itself.
    """
    deadline = time.monotonic() + seconds
    while not is_over():
        if time.monotonic() >= deadline:
            return False
    return True
