"""Measure the memory of a worker's process that runs jobs with ever new models.

    python -m benchmarks.workers.growth

Each job has a model that the process has not loaded before. The first process keeps at most
`UNITRANK_WARM_MODELS` models, the second one keeps all of them.
"""

import argparse
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from torch import nn

from benchmarks.service.latency import JOB
from unitrank.exporting import export
from unitrank_engine.models.inspection import inspect
from unitrank_schemas.base import Json
from unitrank_store.settings import Settings
from unitrank_tables.sizes import MiB
from unitrank_worker.child_settings import ChildSettings
from unitrank_worker.children.handle import ChildHandle

SECONDS = 120.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=400, help="number of jobs, each with a new model")
    jobs = parser.parse_args().jobs
    kept = Settings().warm_models
    with tempfile.TemporaryDirectory(prefix="unitrank-bench-") as name:
        folder = Path(name)
        torch.manual_seed(0)
        export(nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)), torch.randn(2, 4), folder / "net.pt2")
        manifest = inspect(folder / "net.pt2", folder / "clean.pt2")
        np.savez(folder / "data.npz", x=np.ones((4, 4), dtype=np.float32))
        for count in (kept, jobs):
            sizes = _sizes(folder, manifest, count, jobs)
            # Libraries are loaded in the first jobs.
            tenth = max(1, jobs // 10)
            growth = (sizes[-1] - sizes[tenth]) / (jobs - tenth)
            steps = ", ".join(f"{size / MiB:.0f}" for size in sizes[:: max(1, jobs // 8)])
            print(f"at most {count} models in memory: {steps} MiB resident; {growth / 1024:.0f} KiB for each job")


def _sizes(folder: Path, manifest: Json, count: int, jobs: int) -> list[int]:
    """Resident bytes of a child after each job. `count`: the models that it keeps."""
    sizes = []
    with _child(folder, count) as child:
        for number in range(jobs):
            order: Json = {
                "run": "job",
                "id": str(number),
                "request": JOB,
                # The file is the same, and the digest makes it a new model.
                "resolved": {
                    "clean": f"sha256:{number}",
                    "model": {"name": "net", "digest": f"sha256:{number}"},
                    "dataset": {"name": "data", "digest": "sha256:1"},
                },
                "manifest": manifest,
                "about": {},
            }
            child.send(order, files=[(folder / name).open("rb") for name in ("data.npz", "clean.pt2")])
            _await_end(child)
            sizes.append(child.memory())
    return sizes


@contextmanager
def _child(folder: Path, count: int) -> Iterator[ChildHandle]:
    settings = ChildSettings(scratch=str(folder / "scratch"), warm_models=count)
    child = ChildHandle(settings, "unitrank_worker.engine:TorchEngine", "cpu")
    child.start()
    child.open()
    try:
        child.await_ready(SECONDS)
        yield child
    finally:
        child.end()


def _await_end(child: ChildHandle) -> None:
    """Wait until the job has ended. Raises SystemExit if it fails."""
    while (message := child.receive(SECONDS)) is not None:
        if "find_parts" in message.content:
            child.send({"parts": []})
        if "end" in message.content:
            if message.content["end"] != "succeeded":
                raise SystemExit(f"the job failed: {message.content['problem']}")
            return
    raise SystemExit(f"the job did not end within {SECONDS:.0f} s")


if __name__ == "__main__":
    main()
