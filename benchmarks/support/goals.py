"""Goals of a benchmark. A missed goal is printed and makes the exit status 1."""

import time
from collections.abc import Callable, Sequence

LOST_SECONDS = 180.0
"""Seconds after which a job that has not ended counts as lost."""


def report_missed(missed: Sequence[str]) -> None:
    """Print each missed goal. Raises SystemExit with status 1 if there are any."""
    for each in missed:
        print(f"GOAL MISSED: {each}")
    if missed:
        raise SystemExit(1)


def ends(has_ended: Callable[[], bool], seconds: float = LOST_SECONDS) -> bool:
    """Whether `has_ended` returns true within `seconds`.

    `has_ended` must wait for the job, because it is called again without a pause.
    """
    deadline = time.monotonic() + seconds
    while not has_ended():
        if time.monotonic() >= deadline:
            return False
    return True
