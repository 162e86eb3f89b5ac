"""Reports the progress of a job: planned rows, finished rows, and the time left."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Report = Callable[[dict[str, Any]], None]
"""Takes a progress record; raises Cancelled when the job must stop."""
Part = int | tuple["Part", int]
"""The number of a part of each stage; a part of a part has the numbers of both."""
Stage = tuple[str, Part]
"""A stage's name, and its part."""


class ProgressMeter:
    """Counts the rows of a job's stages and estimates the time left.

    A row costs different time in different stages. The estimate divides the cost that is left by
    the speed of the current stage.

    `report`: is called with a progress record after each batch.
    `clock`: gives the time in seconds.

    >>> records = []
    >>> meter = ProgressMeter(records.append)
    >>> meter.plan("attribution", rows=100, cost=2.0)
    >>> meter.advance("attribution", 10)
    >>> records[0]["done"], records[0]["total"], records[0]["stage"]
    (10, 100, 'attribution')
    """

    SETTLED_SECONDS = 1.0
    """Seconds after which the speed of the stage counts instead of the speed of the whole job."""

    def __init__(self, report: Report, clock: Callable[[], float] = time.monotonic) -> None:
        self._report = report
        self._clock = clock
        self._planned: dict[Stage, tuple[int, float]] = {}
        self._done: dict[Stage, int] = {}
        self._stage: Stage = ("", 0)
        self._began = self._since = self._last = clock()

    def plan(self, stage: str, rows: int, cost: float, part: Part = 0) -> None:
        """Announces a stage.

        `rows`: the rows that will pass in this stage.
        `cost`: floating-point operations of one row.
        `part`: the number of a part of the stage that is planned and counted on its own.
        """
        self._planned[stage, part] = (rows, cost)
        self._done[stage, part] = 0

    def advance(self, stage: str, rows: int, part: Part = 0) -> None:
        """Counts rows of a stage as finished, and reports.

        A stage counts as started at the last report before its first rows.
        """
        if (stage, part) != self._stage:
            self._stage, self._since = (stage, part), self._last
        self._last = self._clock()
        self._done[stage, part] += rows
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

    def of_part(self, part: Part) -> "PartMeter":
        """The meter of a part of each stage, such as the rows of one explained class."""
        return PartMeter(self, part)

    def _eta(self) -> float | None:
        settled = self._last - self._since >= self.SETTLED_SECONDS
        stages = [self._stage] if settled else list(self._planned)
        spent = sum(self._done[name] * self._planned[name][1] for name in stages)
        left = sum(max(0, planned - self._done[name]) * cost for name, (planned, cost) in self._planned.items())
        return (self._last - (self._since if settled else self._began)) * left / spent if spent else None


@dataclass(frozen=True)
class PartMeter:
    """Plans and counts a part of each stage; the report has the sum of all parts."""

    meter: ProgressMeter
    part: Part

    def of_part(self, part: int) -> "PartMeter":
        """The meter of a part of this part."""
        return PartMeter(self.meter, (self.part, part))

    def plan(self, stage: str, rows: int, cost: float) -> None:
        """As `ProgressMeter.plan`."""
        self.meter.plan(stage, rows, cost, self.part)

    def advance(self, stage: str, rows: int) -> None:
        """As `ProgressMeter.advance`."""
        self.meter.advance(stage, rows, self.part)
