"""An engine whose passes give sums that are known, and that can go wrong in a given range.

`metadata["passes"]` is the list of passes. A pass has `ranges`, and may have `rows` in each range,
a stage, and faults: `kill`, `wait`, `hold`, `raise` or `nonsense`, each with the number of a range,
or `owner`: a line that the owner writes to its parent before the pass.
"""

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from unitrank_engine.errors import EngineError
from unitrank_engine.job.passes import LocalRunner
from unitrank_schemas.base import Json
from unitrank_tables.part import Part
from unitrank_tables.range_result import RangeResult
from unitrank_worker.child_settings import ChildSettings
from unitrank_worker.distributed.runners import OwnerRunner
from unitrank_worker.engine import Arrays, Assignment, Report, Upload, WarmModel

WIDTH = 33


def values_of(rows: range, seed: float) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Numbers whose sum depends on the order of addition."""
    return np.sin(np.outer(np.arange(rows.start, rows.stop) + seed + 1, np.arange(1, WIDTH + 1)) ** 2) * 1e3


class Summing:
    """Sums the values of each pass; each pass depends on the sum of the one before."""

    def __init__(self, settings: ChildSettings, device: str) -> None:
        self._warm: list[WarmModel] = []

    def open(self) -> None:
        """Do nothing: there is no device."""

    def run(self, assignment: Assignment, report: Report) -> tuple[Json, Arrays]:
        metadata: Any = assignment.request.metadata
        runner = assignment.runner or LocalRunner()
        assignment.table.read_bytes()
        planned = sum(each["ranges"] * each.get("rows", 1) for each in metadata["passes"])
        done, seed = 0, 0.0
        arrays: Arrays = {}
        for number, each in enumerate(metadata["passes"]):
            size, stage = each.get("rows", 1), each.get("stage", "attribution")
            if each.get("parts"):
                stored = assignment.parts.get(each["parts"])
                seed += sum(float(part.arrays["x"].sum()) for part in stored.values())
                assignment.parts.put({each["parts"][0]: Part({"x": np.full(2, float(os.getpid()))})})
            if "owner" in each and isinstance(runner, OwnerRunner):
                _write(each["owner"])
            ranges = [range(size * index, size * (index + 1)) for index in range(each["ranges"])]

            def compute(rows: range, each: Json = each, size: int = size, seed: float = seed, stage: str = stage) -> RangeResult:
                nonlocal done
                _go_wrong(each, rows.start // size, report)
                values = values_of(rows, seed)
                done += len(rows)
                report({"done": done, "total": planned, "unit": "rows", "stage": stage, "eta": None})
                return RangeResult({"sum": values.sum(0)}, {"first": values[:, 0]})

            result = runner.run(stage, ranges, compute)
            seed = float(result.sums["sum"][0]) % 1.0
            arrays |= {f"sum/{number}": np.asarray(result.sums["sum"]), f"first/{number}": np.asarray(result.rows["first"])}
        return {"pid": os.getpid(), "cost": {}}, arrays

    def inspect(self, upload: Upload, target: Path) -> Json:
        raise EngineError("bad_archive", "this engine inspects nothing")

    def device_memory(self) -> int:
        return 0

    def warm(self) -> list[WarmModel]:
        return self._warm


def _go_wrong(faults: Json, index: int, report: Report) -> None:
    if (fault := faults.get("mark")) is not None and index == fault["range"]:
        with Path(fault["file"]).open("a") as file:
            file.write(f"{os.getpid()}\n")
    if (fault := faults.get("wait")) is not None and index >= fault["range"]:
        _wait(Path(fault["file"]), report)
    if (fault := faults.get("hold")) is not None and index == fault["range"]:
        _wait(Path(fault["file"]), report)
    if (fault := faults.get("kill")) is not None and index == fault["range"]:
        path = Path(fault["file"])
        path.open("a").write("x")
        if len(path.read_text()) <= fault["times"]:
            os.kill(os.getpid(), signal.SIGKILL)
    if (fault := faults.get("raise")) is not None and index == fault["range"]:
        raise EngineError("non_finite", "the output was nan")
    if (fault := faults.get("nonsense")) is not None and index == fault["range"]:
        _write(str(fault["line"]))


def _write(line: str) -> None:
    """Write to the parent as code that controls the child can do, and wait for the end."""
    os.write(int(sys.argv[sys.argv.index("--fd") + 1]), line.encode())
    time.sleep(60)


def _wait(file: Path, report: Report) -> None:
    """Wait for the file; a stop ends the wait."""
    while not file.exists():
        report({"done": 0, "total": 0, "unit": "rows", "stage": "waiting", "eta": None})
        time.sleep(0.01)
