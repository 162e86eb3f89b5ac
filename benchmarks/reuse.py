"""Measure a job that reuses parts of an earlier job, and the same job without reuse."""

import argparse
import tempfile
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import torch
from torch import nn

from benchmarks.support.running import running
from unitrank.client.sync import Client
from unitrank.exporting import export

FIRST: list[Any] = ["gradient", "conductance"]
LATER: dict[str, list[Any]] = {
    "with deeplift too": [*FIRST, "deeplift"],
    "with other steps": ["gradient", {"name": "conductance", "steps": 50}],
    "with another statistic": [*FIRST, {"name": "conductance", "statistic": "mean_abs"}],
}
NO_REUSE = {"Cache-Control": "no-cache"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--examples", type=int, default=2000, help="number of images")
    examples = parser.parse_args().examples
    with running() as url, tempfile.TemporaryDirectory() as folder:
        _upload(url, Path(folder), examples)
        with httpx.Client(base_url=url, timeout=600) as http:
            _print_cost("first job", _run(http, [*FIRST], NO_REUSE))
            for name, methods in LATER.items():
                _print_cost(name, _run(http, methods))
                _print_cost(f"{name}, no reuse", _run(http, methods, NO_REUSE))


def _upload(url: str, folder: Path, examples: int) -> None:
    """Upload a convolutional network and images for it."""
    torch.manual_seed(0)
    convolutions = nn.Sequential(nn.Conv2d(1, 16, 3), nn.ReLU(), nn.Conv2d(16, 16, 3, stride=2), nn.ReLU())
    net = nn.Sequential(*convolutions, nn.Flatten(), nn.Linear(16 * 6 * 6, 64), nn.ReLU(), nn.Linear(64, 10))
    export(net, torch.randn(2, 1, 15, 15), folder / "net.pt2")
    x = np.random.default_rng(0).normal(size=(examples, 1, 15, 15)).astype(np.float32)
    np.savez(folder / "data.npz", x=x, y=np.arange(examples) % 10)
    with Client(url) as client:
        client.datasets.put("reuse", folder / "data.npz")
        client.models.put("reuse", folder / "net.pt2")


def _run(http: httpx.Client, methods: list[Any], headers: dict[str, str] | None = None) -> dict[str, Any]:
    """Run the job; returns the `cost` of its result."""
    job = {"model": "reuse", "dataset": "reuse", "layer": "1", "clusters": {"by": "label"}, "methods": methods}
    location = http.post("/v1/jobs", json=job, headers=headers).raise_for_status().headers["Location"]
    while not (state := http.get(location, params={"wait": 60}).raise_for_status().json())["finished_at"]:
        continue
    if state["status"] != "succeeded":
        raise SystemExit(f"the job ended as {state['status']}, not as succeeded: {state['problem']}")
    cost: dict[str, Any] = http.get(f"{location}/result").raise_for_status().json()["cost"]
    return cost


def _print_cost(name: str, cost: dict[str, Any]) -> None:
    print(f"{name:32} {cost['seconds']:7.2f} s {cost['forward_rows']:9,} rows   reused: {', '.join(cost['reused']) or 'nothing'}")


if __name__ == "__main__":
    main()
