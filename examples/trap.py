"""The trap: averaged gradients rank no better than chance, although the network uses its units.

A small network learns which half of its inputs has the larger sum. Each hidden unit supports one
class and opposes the other. So the gradient of the label's logit is positive for about half of the
examples, and negative for the rest. In a cluster with both classes these values cancel in the mean.

Run `python examples/trap.py`; the script takes 11 seconds.
"""

import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from unitrank_engine.pipeline import run
from unitrank_engine.program import Program
from unitrank_schemas.jobs import JobRequest
from unitrank_schemas.methods import with_ids
from unitrank_tables import open_table

METHODS: list[Any] = [
    "gradient",
    {"name": "gradient", "statistic": "mean_abs"},
    {"name": "gradient", "statistic": "rms"},
    "gradient_x_delta",
    "conductance",
    "random",
]


def data(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Inputs [count, 10], and labels: 1 if the first five numbers have the larger sum, else 0."""
    x = np.random.default_rng(seed).normal(size=(count, 10)).astype(np.float32)
    return x, (x[:, :5].sum(1) > x[:, 5:].sum(1)).astype(np.int64)


def train(seed: int) -> nn.Module:
    """A network of two hidden layers, trained to about 99 % accuracy."""
    torch.manual_seed(seed)
    network = nn.Sequential(nn.Linear(10, 48), nn.Tanh(), nn.Linear(48, 16), nn.ReLU(), nn.Linear(16, 2))
    x, y = (torch.from_numpy(values) for values in data(1024, seed))
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    for _ in range(150):
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(x), y).backward()
        optimizer.step()
    return network.eval()


def rank(seed: int = 2, by: str = "all") -> dict[str, Any]:
    """The summary of one job on the first hidden layer, computed in this process."""
    network = train(seed)
    batch = torch.export.Dim("batch", min=1)
    with warnings.catch_warnings():
        # torch deprecates its own code.
        warnings.simplefilter("ignore", FutureWarning)
        program = Program.from_exported(torch.export.export(network, (torch.zeros(2, 10),), dynamic_shapes=({0: batch},)))
    x, y = data(400, seed + 1)
    request = JobRequest.model_validate(
        {
            "model": "trap",
            "dataset": "trap",
            "layer": "1",
            "methods": METHODS,
            "clusters": {"by": by},
            "inputs": {"input": "x"},
            "labels": "y",
            "target": {"class": "label", "score": "logit"},
        }
    )
    request = request.model_copy(update={"methods": with_ids(request.methods)})
    resolved = {"model": {"name": "trap", "digest": f"seed {seed}"}, "dataset": {"name": "trap", "digest": f"seed {seed + 1}"}}
    with tempfile.TemporaryDirectory() as folder:
        np.savez(Path(folder) / "data.npz", x=x, y=y)
        with open_table(Path(folder) / "data.npz") as table:
            summary, _ = run(request, resolved, program, table, lambda progress: None)
    return summary


def show(summary: dict[str, Any]) -> None:
    """Prints one line for each ranking and cluster."""
    warned = {
        (warning["ranking"], warning["cluster"]) for warning in summary["warnings"] if warning["code"] == "signed_cancellation"
    }
    print(f"{'ranking':<20} {'cluster':<8} {'cancelled':>9} {'area':>6} {'random':>6} {'p':>5}  verdict")
    for ranking in summary["rankings"]:
        for name, cluster in ranking["clusters"].items():
            study = cluster["ablation"]
            line = f"{ranking['id']:<20} {name:<8} {cluster['cancellation']:>9.0%} {study['most']['area']:>6.3f} "
            line += f"{study['random']['area']:>6.3f} {study['p_value']:>5.2f}  {study['verdict']}"
            print(line + (" (signed_cancellation)" if (ranking["id"], name) in warned else ""))


if __name__ == "__main__":
    print("Both classes in one cluster:")
    show(rank(by="all"))
    print("\nA cluster for each label:")
    show(rank(by="label"))
