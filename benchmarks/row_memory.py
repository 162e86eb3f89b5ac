"""Measure the memory of a job for each row that it ranks.

Each figure is the difference of two jobs, with N and with 2·N rows, each in a process of its own
that reads shards in place. `process` is the largest resident memory of the process that runs
the job; `joined` is the largest joined result of a pass, which the driver and all nodes of a
divided job hold, too. Two equal processes differ by about 10 MB, so that small figures need many
rows.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from unitrank_engine.job.passes import Compute, LocalRunner
from unitrank_engine.pipeline import run
from unitrank_engine.program import Program
from unitrank_schemas.jobs import JobRequest
from unitrank_schemas.methods import with_ids
from unitrank_tables.range_result import RangeResult
from unitrank_tables.sharded.headers import ShardFile, index_of, read_shard_header
from unitrank_tables.sharded.ranges import ByteRange
from unitrank_tables.sharded.table import ShardedTable

ROWS_OF_SHARD = 250_000
FEATURES = 2
GIVEN = {"name": "given", "importance": [1.0, 2.0], "made_on": "none"}
JOBS: dict[str, dict[str, Any]] = {
    "all rows": {},
    "by label": {"clusters": {"by": "label"}},
    "by field of text": {"clusters": {"by": "field", "field": "name"}},
    "by prediction": {"clusters": {"by": "prediction"}},
    "by k-means": {"clusters": {"by": "kmeans", "k": 4, "layer": "1"}},
    "with a limit of half of the rows": {"clusters": {"by": "label", "limit": 0.25}},
    "three rankings": {"methods": ["gradient", "activation", {"name": "gradient", "statistic": "mean_abs"}]},
    "conductance": {"methods": [{"name": "conductance", "steps": 2}]},
    "fidelity": {"fidelity": {"fraction": 0.5}},
    "baseline mean of clusters": {"clusters": {"by": "label"}, "baseline": {"kind": "cluster_mean"}},
    "split by a field": {"ablation": {"random": 19, "split": "group"}},
    "given scores": {"methods": ["gradient", GIVEN]},
}
"""Each job makes and tests one gradient ranking of all rows, unless its name says otherwise."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=2_000_000, help="N, the rows of the smaller job")
    parser.add_argument("--only", nargs="+", choices=JOBS, default=list(JOBS), help="the jobs to run")
    parser.add_argument("--job", choices=JOBS, help=argparse.SUPPRESS)
    parser.add_argument("--shards", nargs="+", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.job:
        print(json.dumps(_measured(arguments.job, arguments.shards)))
        return
    with tempfile.TemporaryDirectory(prefix="unitrank-bench-") as folder:
        shards = _write(Path(folder), 2 * arguments.rows)
        print(f"bytes a row, from jobs with {arguments.rows:,} and {2 * arguments.rows:,} rows")
        for job in arguments.only:
            half, whole = (_run(job, shards[:count]) for count in (len(shards) // 2, len(shards)))
            process, joined = ((whole[name] - half[name]) / arguments.rows for name in ("process", "joined"))
            peaks = f"{half['process'] / 1e6:4.0f} and {whole['process'] / 1e6:4.0f} MB"
            print(f"{job:34} process {process:6.1f} ({peaks})   joined {joined:5.1f}   {whole['seconds']:5.0f} s", flush=True)


def _write(folder: Path, rows: int) -> list[Path]:
    """Write the rows into an even number of shards of equal size; return their paths."""
    count = 2 * max(1, rows // 2 // ROWS_OF_SHARD)
    paths = [folder / f"part-{number:05}.npz" for number in range(count)]
    for number, path in enumerate(paths):
        random = np.random.default_rng(number)
        size = rows // count
        y = random.integers(0, 2, size, dtype=np.uint8)
        group = np.arange(number * size, (number + 1) * size, dtype=np.uint32) // 2
        x = random.standard_normal((size, FEATURES), dtype=np.float32)
        np.savez(path, x=x, y=y, name=np.array(["cat", "dog"])[y], group=group)
    return paths


def _run(job: str, shards: Sequence[Path]) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.row_memory", "--job", job, "--shards", *map(str, shards)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    measured: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return measured


class _Shards:
    """Reads ranges of bytes of files."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = paths

    def read(self, ranges: Sequence[ByteRange]) -> list[bytes]:
        return [_bytes(self._paths[shard], start, stop) for shard, start, stop in ranges]

    def close(self) -> None:
        """Do nothing: each read closes its file."""


def _bytes(path: Path, start: int, stop: int) -> bytes:
    with path.open("rb") as file:
        file.seek(start)
        return file.read(stop - start)


class _Runner(LocalRunner):
    """Notes the bytes of the largest joined result."""

    largest = 0

    def run(self, stage: str, ranges: Sequence[range], compute: Compute) -> RangeResult:
        result = super().run(stage, ranges, compute)
        arrays = [*result.sums.values(), *result.rows.values()]
        self.largest = max(self.largest, sum(array.nbytes for array in arrays))
        return result


def _measured(job: str, paths: Sequence[Path]) -> dict[str, float]:
    """Run the job; return its bytes and seconds."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(FEATURES, 2), nn.ReLU(), nn.Linear(2, 2)).eval()
    batch = {0: torch.export.Dim("batch", min=1)}
    program = Program.from_exported(torch.export.export(net, (torch.randn(2, FEATURES),), dynamic_shapes=(batch,)))
    headers = [read_shard_header(ShardFile(path.name, path.stat().st_size, "1", _reader(path))) for path in paths]
    index, runner = index_of(headers), _Runner()
    assert index is not None
    with ShardedTable(index, _Shards(paths)) as table:
        digest = "sha256:" + "0" * 64
        resolved = {name: {"name": name, "digest": digest} for name in ("model", "dataset")}
        summary, _ = run(_request(job, table.examples), resolved, program, table, lambda progress: None, runner=runner)
    process = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"process": process, "joined": runner.largest, "seconds": summary["cost"]["seconds"]}


def _reader(path: Path) -> Any:
    # Any: a function that `ShardFile` describes
    return lambda start, stop: _bytes(path, start, stop)


def _request(job: str, rows: int) -> JobRequest:
    fields: dict[str, Any] = {"model": "m", "dataset": "d", "layer": "1", "methods": ["gradient"], "inputs": {"input": "x"}}
    fields |= {"labels": "y", "target": {"class": "label"}, "clusters": {"by": "all"}, "ablation": {"random": 19}, **JOBS[job]}
    if "limit" in fields["clusters"]:
        fields["clusters"] = {**fields["clusters"], "limit": int(fields["clusters"]["limit"] * rows)}
    request = JobRequest.model_validate(fields)
    return request.model_copy(update={"methods": with_ids(request.methods)})


if __name__ == "__main__":
    main()
