"""Measure a warm trivial job over HTTP: seconds from POST until `?wait` returns `succeeded`.

The measurement begins when the spare children have loaded their engines, which takes seconds of
CPU time after the first job. The CPU time of each process shows where the time of a job goes.
"""

import argparse
import tempfile
import time
from pathlib import Path

import httpx
import numpy as np
import torch
from torch import nn

from benchmarks.support.cpu_time import cpu_seconds, wait_until_idle
from benchmarks.support.running import running
from unitrank.client.sync import Client
from unitrank.exporting import export

JOB = {
    "model": "tiny",
    "layer": "1",
    "dataset": "tiny",
    "methods": ["activation"],
    "ablation": None,
    "fidelity": None,
}
WARM = 10
"""Jobs before the measurement."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=200, help="number of measured jobs")
    count = parser.parse_args().jobs
    with running() as url, tempfile.TemporaryDirectory() as folder:
        torch.manual_seed(0)
        archive = Path(folder) / "tiny.pt2"
        export(nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)), torch.randn(2, 4), archive)
        with Client(url) as client:
            np.savez(Path(folder) / "tiny.npz", x=np.ones((4, 4), dtype=np.float32))
            client.datasets.put("tiny", Path(folder) / "tiny.npz")
            client.models.put("tiny", archive)
        with httpx.Client(base_url=url, timeout=90) as http:
            for seed in range(WARM):
                _run_job(http, seed)
            wait_until_idle()
            before = cpu_seconds()
            seconds = [_run_job(http, seed) for seed in range(WARM, WARM + count)]
            used = {name: total - before.get(name, 0.0) for name, total in cpu_seconds().items()}
    p50, p95, p99 = np.percentile(seconds, [50, 95, 99]) * 1000
    print(f"warm trivial job, POST to succeeded, {count} jobs (goal: p50 under 10 ms)")
    print(f"p50 {p50:.1f} ms, p95 {p95:.1f} ms, p99 {p99:.1f} ms")
    print("CPU of a job: " + ", ".join(f"{name} {1000 * total / count:.1f} ms" for name, total in used.items()))


def _run_job(http: httpx.Client, seed: int) -> float:
    """Seconds of one job. An unused seed makes a new job."""
    began = time.perf_counter()
    posted = http.post("/v1/jobs", json={**JOB, "seed": seed}).raise_for_status()
    ended = http.get(posted.headers["Location"], params={"wait": 60}).raise_for_status().json()
    seconds = time.perf_counter() - began
    if ended["status"] != "succeeded":
        raise SystemExit(f"the job ended as {ended['status']}, not as succeeded: {ended['problem']}")
    return seconds


if __name__ == "__main__":
    main()
