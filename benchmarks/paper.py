"""The paper's table over HTTP: mean absolute error of predicted against actual change on 10 000 MNIST images.

arXiv:1807.09946, Fig. 1: all-convolutional net, raw inputs 0–255, zero baseline, centred logit of the predicted class, a
tenth of the units after each ReLU replaced by their value at the baseline, chosen by the largest |h − h'|.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import nn

from api_schemas.jobs import JobRequest
from api_schemas.results import Result
from benchmarks._running import running
from unitrank.client import Client
from unitrank.exporting import export

# The design's table; `conductance-N` has N steps of the paper's rule.
EXPECTED = {
    ("relu1", "conductance-10"): 457.89975,
    ("relu1", "conductance-100"): 458.5485,
    ("relu1", "deeplift"): 422.164,
    ("relu1", "rescale"): 454.3863,
    ("relu1", "gradient_x_delta"): 457.2978,
    ("relu2", "conductance-10"): 255.53603,
    ("relu2", "conductance-100"): 255.7105,
    ("relu2", "deeplift"): 145.73521,
    ("relu2", "rescale"): 255.1436,
    ("relu2", "gradient_x_delta"): 255.32726,
}
TOLERANCE = 1e-4
PAPER_SECONDS = {"conductance-10": 564.0, "conductance-100": 1083.0, "deeplift": 15.3}
"""What the paper says its own runs took."""
WHERE = "a folder with allconv.safetensors and t10k.npz; UNITRANK_MNIST names it too"


class Net(nn.Module):
    """The all-convolutional net of arXiv:1704.02685."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.relu1 = nn.Conv2d(1, 32, 4, stride=2), nn.ReLU()
        self.conv2, self.relu2 = nn.Conv2d(32, 64, 4, stride=2), nn.ReLU()
        self.fc1, self.relu3, self.fc2 = nn.Linear(1600, 128), nn.ReLU(), nn.Linear(128, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.relu2(self.conv2(self.relu1(self.conv1(x))))
        out: torch.Tensor = self.fc2(self.relu3(self.fc1(h.flatten(1))))
        return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=os.environ.get("UNITRANK_MNIST"), help=WHERE)
    parser.add_argument("--steps", type=int, nargs="+", default=[10, 100], choices=[10, 100])
    arguments = parser.parse_args()
    if arguments.data is None:
        print(f"skipped: needs --data, {WHERE}")
        return
    with running() as url:
        rows = measure(url, arguments.data, arguments.steps)
    print(f"{'layer':6} {'ranking':18} {'measured':>10} {'expected':>10} {'off by':>9} {'s':>7} {'paper s':>8}")
    for layer, ranking, measured, seconds in rows:
        expected = EXPECTED[layer, ranking]
        off = measured / expected - 1
        mark = "" if abs(off) <= TOLERANCE else "  MORE THAN 0.01 %"
        paper = f"{PAPER_SECONDS[ranking]:8.1f}" if ranking in PAPER_SECONDS else ""
        print(f"{layer:6} {ranking:18} {measured:10.4f} {expected:10.4f} {off:+9.4%} {seconds:7.1f} {paper}{mark}")
    print("s: wall time of a job with this method alone, over HTTP, from POST to result")


def measure(url: str, data: Path, steps: list[int]) -> list[tuple[str, str, float, float]]:
    """Layer, ranking, mean absolute error and the job's seconds, for all methods of the table, conductance at these steps."""
    net = Net()
    net.load_state_dict(load_file(data / "allconv.safetensors"))
    with Client(url, timeout=120) as client, tempfile.TemporaryDirectory() as folder:
        export(net, torch.zeros(2, 1, 28, 28), Path(folder) / "allconv.pt2")
        client.models.put("allconv", Path(folder) / "allconv.pt2")
        client.datasets.put("mnist-t10k", data / "t10k.npz")
        return [_measured(client, layer, method) for layer in ("relu1", "relu2") for method in _methods(steps)]


def _methods(steps: list[int]) -> list[dict[str, Any]]:
    paths = [{"name": "conductance", "id": f"conductance-{n}", "steps": n, "rule": "right", "spacing": "uniform"} for n in steps]
    return [*paths, {"name": "deeplift"}, {"name": "deeplift", "id": "rescale", "rules": "rescale"}, {"name": "gradient_x_delta"}]


def _measured(client: Client, layer: str, method: dict[str, Any]) -> tuple[str, str, float, float]:
    began = time.monotonic()
    (ranking,) = _run(client, layer, method).rankings
    assert ranking.fidelity is not None
    return layer, ranking.id, ranking.fidelity.mae, time.monotonic() - began


def _run(client: Client, layer: str, method: dict[str, Any]) -> Result:
    request = JobRequest.model_validate(
        {
            "model": "allconv",
            "layer": layer,
            "dataset": "mnist-t10k",
            "methods": [method],
            "target": {"class": "predicted", "score": "centered"},
            "ablation": None,
            "fidelity": {"select": "delta", "fraction": 0.1, "fill": "baseline"},
        }
    )
    return client.jobs.submit(request).wait().summary()


if __name__ == "__main__":
    main()
