"""Progress that can be believed: planned rows, done rows, and the time left at the speed seen so far."""

import time
from collections.abc import Callable
from typing import Any

Report = Callable[[dict[str, Any]], None]
"""Takes a progress record; raises Cancelled where the job must stop."""


class Meter:
    """Counts rows of stages whose rows cost differently; the time left goes by cost, not by rows."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._planned: dict[str, tuple[int, float]] = {}
        self._done: dict[str, int] = {}
        self._began = time.monotonic()

    def plan(self, stage: str, rows: int, cost: float) -> None:
        """Announces a stage: how many rows will pass, and what one costs relative to the others."""
        self._planned[stage] = (rows, cost)
        self._done[stage] = 0

    def advance(self, stage: str, rows: int) -> None:
        """Counts rows as done and reports."""
        self._done[stage] += rows
        spent = sum(self._done[name] * cost for name, (_, cost) in self._planned.items())
        left = sum((planned - self._done[name]) * cost for name, (planned, cost) in self._planned.items())
        elapsed = time.monotonic() - self._began
        self._report(
            {
                "done": sum(self._done.values()),
                "total": max(sum(planned for planned, _ in self._planned.values()), sum(self._done.values())),
                "unit": "rows",
                "stage": stage,
                "eta": max(0.0, elapsed * left / spent) if spent else None,
            }
        )
