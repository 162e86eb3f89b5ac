"""The engine of workers, which waits in a given stage until the job is stopped.

`metadata["hold"]` has the stage, or `end` for the end of the owner's work, and a folder. A process
adds a line to the file `held` there when it begins to wait, and to `left` when the wait ends. The
file `go` ends all waits.
"""

import os
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

from tests.worker.distributed.small_ranges import SmallRanges
from unitrank_engine.attribution.fidelity import FidelityObserver
from unitrank_engine.job.passes import Compute, LocalRunner, PassRunner
from unitrank_schemas.base import Json
from unitrank_tables.range_result import RangeResult
from unitrank_worker.distributed.runners import OwnerRunner
from unitrank_worker.engine import Arrays, Assignment, Report


class Held(SmallRanges):
    def run(self, assignment: Assignment, report: Report) -> tuple[Json, Arrays]:
        hold: Any = assignment.request.metadata.get("hold")  # Any: JSON of the test
        if hold is None:
            return super().run(assignment, report)
        if hold["stage"] == "fidelity":
            with patch.object(FidelityObserver, "see_batch", lambda *batch: _wait(hold, report)):
                return super().run(assignment, report)
        runner = assignment.runner or LocalRunner()
        outcome = super().run(replace(assignment, runner=_HeldRunner(runner, hold, report)), report)
        if hold["stage"] == "end" and isinstance(runner, OwnerRunner):
            _wait(hold, report)
        return outcome


class _HeldRunner:
    def __init__(self, runner: PassRunner, hold: Json, report: Report) -> None:
        self._runner = runner
        self._hold = hold
        self._report = report

    def run(self, stage: str, ranges: Sequence[range], compute: Compute) -> RangeResult:
        def held(part: range) -> RangeResult:
            if stage == self._hold["stage"]:
                _wait(self._hold, self._report)
            return compute(part)

        return self._runner.run(stage, ranges, held)


def _wait(hold: Json, report: Report) -> None:
    _add(hold, "held", str(os.getpid()))
    try:
        while not Path(hold["folder"], "go").exists():
            report({"done": 0, "total": 0, "unit": "rows", "stage": hold["stage"], "eta": None})
            time.sleep(0.01)
    finally:
        _add(hold, "left", str(os.getpid()))


def _add(hold: Json, name: str, line: str) -> None:
    with Path(hold["folder"], name).open("a") as file:
        file.write(f"{line}\n")
