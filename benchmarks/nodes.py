"""One job on one node and on two nodes, of one core each, on this machine.

    python -m benchmarks.nodes [--examples 6000] [--repeats 3]

Needs `unitrank[ray]`. The nodes' processes are warm: the time of a job is from its start on the
worker to its end. Both results must be equal to the bit.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import torch
from tests.worker.distributed.on_ray.ray_cluster import RayCluster
from torch import nn

from benchmarks.support.goals import report_missed
from benchmarks.support.running import running
from benchmarks.support.uploads import put_dataset, put_model

START_SECONDS = 120.0
GOAL = 1.8
"""How many times faster two nodes are, at least."""
JOB: dict[str, Any] = {
    "model": "net",
    "dataset": "x",
    "layer": "1",
    "target": {"class": 0},
    "methods": ["deeplift", {"name": "conductance", "steps": 20}],
    "ablation": {"random": 39, "examples": 400},
    "execution": "distributed",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--examples", type=int, default=6000, help="number of examples")
    parser.add_argument("--repeats", type=int, default=3, help="number of pairs of jobs")
    options = parser.parse_args()
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(1, 16, 3), nn.ReLU(), nn.Conv2d(16, 16, 3), nn.ReLU(), nn.Flatten(), nn.Linear(9216, 10))
    with tempfile.TemporaryDirectory() as folder:
        settings = {"UNITRANK_STATE": str(Path(folder) / "state"), "OMP_NUM_THREADS": "1", "UNITRANK_PARTS_BYTES": "0"}
        cluster = RayCluster(settings)
        try:
            cluster.add("first")
            worker = {**settings, **cluster.settings, "UNITRANK_RAY": cluster.address}
            with running(worker) as url, httpx.Client(base_url=url, timeout=90, trust_env=False) as http:
                x = np.random.default_rng(0).normal(size=(options.examples, 1, 28, 28)).astype(np.float32)
                put_dataset(http, "x", Path(folder), x=x)
                put_dataset(http, "few", Path(folder), x=x[:1300])
                put_model(http, "net", network, torch.randn(2, 1, 28, 28), Path(folder))
                pairs = [_pair(http, cluster, seed) for seed in range(options.repeats)]
        finally:
            cluster.end()
    ratio = statistics.median(one / two for one, two in pairs)
    for one, two in pairs:
        print(f"one node {one:.1f} s, two nodes {two:.1f} s: {one / two:.2f} times faster")
    print(f"median {ratio:.2f} times, goal {GOAL:g}")
    report_missed([f"two nodes: {ratio:.2f} times, not {GOAL:g}"] if ratio < GOAL else [])


def _pair(http: httpx.Client, cluster: RayCluster, seed: int) -> tuple[float, float]:
    """The seconds of the same job on one node and on two."""
    one, arrays = _run(http, seed)
    cluster.add("second")
    _warm(http, cluster, seed)
    two, same = _run(http, seed)
    cluster.remove("second")
    if arrays != same:
        raise SystemExit("the results of one node and of two nodes differ")
    return one, two


def _warm(http: httpx.Client, cluster: RayCluster, seed: int) -> None:
    """Wait until both nodes have a process, and have loaded the model."""
    deadline, jobs = time.monotonic() + START_SECONDS, 0
    few = {**JOB, "dataset": "few", "methods": ["gradient"], "ablation": None}
    # A worker starts a process on a new node while it divides a job.
    while jobs < 3 or len(cluster.actors()) < 2:
        if time.monotonic() > deadline:
            raise SystemExit(f"the second node has no process after {START_SECONDS:.0f} s")
        _result(http, {**few, "seed": 1000 + jobs})
        jobs += len(cluster.actors()) == 2


def _run(http: httpx.Client, seed: int) -> tuple[float, bytes]:
    summary, arrays = _result(http, {**JOB, "seed": seed})
    return summary["cost"]["seconds"], arrays


def _result(http: httpx.Client, job: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
    """The summary and the arrays of a new job."""
    fresh = {"Cache-Control": "no-cache"}
    address = http.post("/v1/jobs", json=job, headers=fresh).raise_for_status().headers["Location"]
    while True:
        record = http.get(address, params={"wait": 60}).raise_for_status().json()
        if record["status"] not in ("queued", "running"):
            break
    if record["status"] != "succeeded":
        raise SystemExit(f"the job is {record['status']}: {record.get('error') or record}")
    summary = http.get(f"{address}/result").raise_for_status().json()
    arrays = http.get(f"{address}/result", headers={"Accept": "application/vnd.safetensors"}).raise_for_status().content
    return summary, arrays


if __name__ == "__main__":
    main()
