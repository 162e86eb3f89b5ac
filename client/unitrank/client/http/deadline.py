"""The time at which a call stops waiting."""

import time
from collections.abc import Callable


class Deadline:
    """A point in time, counted from now.

    Args:
        seconds: seconds until the deadline; None: the deadline never passes.
        clock: returns the time in seconds.
    """

    def __init__(self, seconds: float | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self.seconds = seconds
        self._clock = clock
        self._end = float("inf") if seconds is None else clock() + seconds

    @property
    def left(self) -> float:
        """Seconds until the deadline; 0 after it."""
        return max(0.0, self._end - self._clock())

    @property
    def passed(self) -> bool:
        """Whether the deadline is over."""
        return not self.left


NEVER = Deadline()
