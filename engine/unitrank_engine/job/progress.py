"""Progress that can be believed: planned rows, done rows, and the time left at the speed seen so far."""

import time
from collections.abc import Callable
from typing import Any

Report = Callable[[dict[str, Any]], None]
"""Takes a progress record; raises Cancelled where the job must stop."""


class ProgressMeter:
    """Counts the rows of stages that cost differently; the time left goes by cost, at the speed of the stage that runs."""

    SETTLED_SECONDS = 1.0
    """How long a stage runs before its own speed counts and not that of the whole job."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._planned: dict[str, tuple[int, float]] = {}
        self._done: dict[str, int] = {}
        self._stage = ""
        self._began = self._since = self._last = time.monotonic()

    def plan(self, stage: str, rows: int, cost: float) -> None:
        """Announces a stage: how many rows will pass, and what one of them costs (floating-point operations)."""
        self._planned[stage] = (rows, cost)
        self._done[stage] = 0

    def advance(self, stage: str, rows: int) -> None:
        """Counts rows of a stage as done and reports; with its first rows the stage has begun where the one before ended."""
        if stage != self._stage:
            self._stage, self._since = stage, self._last
        self._last = time.monotonic()
        self._done[stage] += rows
        done = sum(self._done.values())
        self._report(
            {
                "done": done,
                "total": max(done, sum(planned for planned, _ in self._planned.values())),
                "unit": "rows",
                "stage": stage,
                "eta": self._eta(),
            }
        )

    def _eta(self) -> float | None:
        settled = self._last - self._since >= self.SETTLED_SECONDS
        stages = [self._stage] if settled else list(self._planned)
        spent = sum(self._done[name] * self._planned[name][1] for name in stages)
        left = sum(max(0, planned - self._done[name]) * cost for name, (planned, cost) in self._planned.items())
        return (self._last - (self._since if settled else self._began)) * left / spent if spent else None
