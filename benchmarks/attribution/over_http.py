"""Measure one job for all ten classes over HTTP, and ten runs of Captum's best at equal error.

The job runs on a service with one worker, without reuse of earlier jobs. Its seconds go from POST
until all arrays are here. Ten runs of Captum are ten times one run, in this process, with its
fastest batch size and the same number of threads. Jobs and runs of Captum alternate.
"""

import argparse
import io
import os
import tempfile
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import torch
from examples.paper import DATA_HELP

from benchmarks.attribution.bench import CLASSES, Bench, EqualError, in_turns
from benchmarks.support.running import running
from unitrank.client.sync import Client
from unitrank.exporting import export

NAME = "paper"
NO_REUSE = {"Cache-Control": "no-cache"}
GOAL = 12.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=os.environ.get("UNITRANK_MNIST"), help=DATA_HELP)
    parser.add_argument("--images", type=int, default=1000, help="number of test images; the first quarter is explained")
    parser.add_argument("--threads", type=int, default=1, help="threads of torch, in the worker and here")
    parser.add_argument("--repeats", type=int, default=3, help="measured runs; a figure is their median")
    arguments = parser.parse_args()
    if arguments.data is None:
        print(f"skipped: --data is missing: {DATA_HELP}")
        return
    torch.set_num_threads(arguments.threads)
    with tempfile.TemporaryDirectory() as folder, running({"OMP_NUM_THREADS": str(arguments.threads)}) as url:
        bench = Bench(Path(arguments.data), Path(folder), arguments.images)
        _upload(url, bench, Path(folder))
        print(f"all ten classes over HTTP, and ten times one class with Captum's best (goal: {GOAL:g} times as fast)")
        with httpx.Client(base_url=url, timeout=600) as http:
            for layer in ("relu1", "relu2"):
                _measure(http, EqualError.of(bench, layer), arguments.repeats)


def _upload(url: str, bench: Bench, folder: Path) -> None:
    export(bench.net, torch.zeros(2, 1, 28, 28), folder / f"{NAME}.pt2")
    with Client(url) as client:
        client.datasets.put(NAME, folder / "images.npz")
        client.models.put(NAME, folder / f"{NAME}.pt2")


def _measure(http: httpx.Client, equal: EqualError, repeats: int) -> None:
    arrays = run_job(http, equal)
    expected = equal.bench.job(equal.layer, equal.method, **equal.request)
    difference = np.abs(arrays[f"importance/{equal.method['id']}@3"][0] - expected).max() / np.abs(expected).max()
    if difference > 1e-5:
        raise SystemExit(f"{equal.layer}: the job's scores differ from those in process by {difference:.1e} of the largest score")
    job, captum = in_turns(repeats, lambda: run_job(http, equal), equal.captum)
    print(
        f"{equal.layer}: {equal.images} images, n={equal.steps} against 50, {equal.errors}, job {job:.3f} s, "
        f"Captum {CLASSES} x {captum:.3f} s, {CLASSES * captum / job:.1f} times as fast"
    )


def run_job(http: httpx.Client, equal: EqualError) -> dict[str, np.ndarray]:
    """Run a job that explains every class, and fetch its arrays. Raises SystemExit if it fails."""
    job: dict[str, Any] = {
        "model": NAME,
        "dataset": NAME,
        "layer": equal.layer,
        "methods": [equal.method],
        "target": {"class": "each"},
        "ablation": None,
        "fidelity": None,
        **equal.request,
    }
    location = http.post("/v1/jobs", json=job, headers=NO_REUSE).raise_for_status().headers["Location"]
    while not (state := http.get(location, params={"wait": 60}).raise_for_status().json())["finished_at"]:
        continue
    if state["status"] != "succeeded":
        raise SystemExit(f"the job ended as {state['status']}, not as succeeded: {state['problem']}")
    content = http.get(f"{location}/result", headers={"Accept": "application/x-npz"}).raise_for_status().content
    with np.load(io.BytesIO(content)) as arrays:
        return dict(arrays)


if __name__ == "__main__":
    main()
