"""How long somebody is willing to wait."""

import time


class Deadline:
    """So many seconds from when it is made; without a number there is no end."""

    def __init__(self, seconds: float | None = None) -> None:
        self.seconds = seconds
        self._end = float("inf") if seconds is None else time.monotonic() + seconds

    @property
    def left(self) -> float:
        """Seconds still to go, 0 once it has passed."""
        return max(0.0, self._end - time.monotonic())

    @property
    def passed(self) -> bool:
        """Whether nobody waits any more."""
        return not self.left


NEVER = Deadline()
