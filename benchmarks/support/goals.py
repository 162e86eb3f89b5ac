"""What a run was to show: said where it did not, with a status of 1; and how long a job may take before it is called lost."""

import time
from collections.abc import Callable, Sequence

LOST_SECONDS = 180.0


def tell(missed: Sequence[str]) -> None:
    """Raises SystemExit where a goal was missed."""
    for each in missed:
        print(f"GOAL MISSED: {each}")
    if missed:
        raise SystemExit(1)


def ends(is_over: Callable[[], bool], seconds: float = LOST_SECONDS) -> bool:
    """Whether it is over within so many seconds; each look waits by itself."""
    deadline = time.monotonic() + seconds
    while not is_over():
        if time.monotonic() >= deadline:
            return False
    return True
