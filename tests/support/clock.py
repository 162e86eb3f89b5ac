"""A clock that a test moves."""

OVERSLEEP_SECONDS = 1e-6


class Clock:
    """A call returns the time in seconds; `pauses` lists the seconds of each sleep."""

    def __init__(self, now: float = 0.0) -> None:
        self._now = now
        self.pauses: list[float] = []

    def __call__(self) -> float:
        return self._now

    def advance(self, seconds: float) -> None:
        """Move the clock forward by `seconds`."""
        self._now += seconds

    def sleep(self, seconds: float) -> None:
        """Move the clock forward by `seconds` and a little more: a real sleep is never too
        short.
        """
        self.pauses.append(seconds)
        self.advance(seconds + OVERSLEEP_SECONDS)

    async def sleep_async(self, seconds: float) -> None:
        """Like `sleep`, for asyncio."""
        self.sleep(seconds)
