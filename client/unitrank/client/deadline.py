"""The time at which a call stops waiting."""

import time


class Deadline:
    """A point in time, counted from now.

    Args:
        seconds: seconds until the deadline; None: the deadline never passes.
    """

    def __init__(self, seconds: float | None = None) -> None:
        self.seconds = seconds
        self._end = float("inf") if seconds is None else time.monotonic() + seconds

    @property
    def left(self) -> float:
        """Seconds until the deadline; 0 after it."""
        return max(0.0, self._end - time.monotonic())

    @property
    def passed(self) -> bool:
        """Whether the deadline is over."""
        return not self.left


NEVER = Deadline()
