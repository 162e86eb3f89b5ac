"""Measures the peak memory of jobs in bytes: `python -m tests.engine.peaks RUNS`.

RUNS is JSON, a list of `[EXAMPLES, OPTIONS]`. All runs share a process and a model.
"""

import gc
import json
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from tests.engine.in_process import RESOLVED, program_of
from unitrank_engine import pipeline
from unitrank_engine.program import Program
from unitrank_schemas.jobs import JobRequest
from unitrank_schemas.methods import with_ids
from unitrank_tables import open_table

SHAPE = (1, 32, 32)
DISTINCT = 100


class Peak:
    """The process's peak private memory while the block runs, in bytes above that before the block.

    Mapped files do not count.
    """

    PAUSE_SECONDS = 0.001

    def __enter__(self) -> "Peak":
        gc.collect()
        self._before = self._most = own_bytes()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._done.set()
        self._thread.join()

    @property
    def bytes(self) -> int:
        return self._most - self._before

    def _watch(self) -> None:
        while not self._done.wait(self.PAUSE_SECONDS):
            self._most = max(self._most, own_bytes())


def own_bytes() -> int:
    """The memory of the process that is not a mapped file, in bytes."""
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("RssAnon:")]
    return int(line.split()[1]) * 1024


def net() -> Program:
    """A net so wide that a batch has about 24 rows."""
    torch.manual_seed(0)
    return program_of(
        nn.Sequential(nn.Conv2d(1, 32, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(32 * 225, 10)),
        torch.zeros(2, *SHAPE),
    )


def run(program: Program, data: Path, options: dict[str, Any]) -> None:
    request = JobRequest.model_validate(
        {"model": "m", "dataset": "d", "layer": "1", "inputs": {"input": "x"}, "labels": "y", "target": {"class": "label"}}
        | {"keep_examples": 2, "ablation": {"random": 3, "fractions": [0.1], "check_fill": None, "examples": 20}, **options}
    )
    request = request.model_copy(update={"methods": with_ids(request.methods)})
    with open_table(data) as table:
        pipeline.run(request, RESOLVED, program, table, lambda progress: None)


def main(runs: list[tuple[int, dict[str, Any]]]) -> None:
    program = net()
    # The same examples are repeated, because some examples need more steps for a tolerance than
    # others.
    few = np.random.default_rng(0).random((DISTINCT, *SHAPE), dtype=np.float32)
    peaks = []
    with tempfile.TemporaryDirectory() as folder:
        little, data = Path(folder, "little.npz"), Path(folder, "data.npz")
        for count, options in runs:
            for path, rows in ((little, 16), (data, count)):
                np.savez(path, x=few[np.arange(rows) % DISTINCT], y=np.arange(rows) % 4)
            run(program, little, options)
            with Peak() as peak:
                run(program, data, options)
            peaks.append(peak.bytes)
    print(json.dumps(peaks))  # noqa: T201


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
