"""The article's table, arXiv:1807.09946, Fig. 1: how far is a method's prediction of what the network loses from what it loses?

For each of 10 000 test images of MNIST a tenth of the units behind a ReLU, those that differ most from their value for a black
image, are set back to that value. The sum of their scores predicts the change of the logit of the predicted class, centred over
the classes; the table has the mean absolute error. Needs a folder with allconv.safetensors (the network) and t10k.npz (images
`x` of 1 × 28 × 28 bytes, labels `y`): `python examples/paper.py --data FOLDER`, half a minute; `--steps 10 100` for all rows.
"""

import argparse
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import nn

import unitrank

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
"""`conductance-N` has N steps of the article's rule."""
WHERE = "a folder with allconv.safetensors and t10k.npz; UNITRANK_MNIST names it too"
LAYERS = ("relu1", "relu2")
REQUEST: dict[str, Any] = {
    "target": {"class": "predicted", "score": "centered"},
    "ablation": None,
    "fidelity": {"select": "delta", "fraction": 0.1, "fill": "baseline"},
}


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


def methods(steps: list[int]) -> list[dict[str, Any]]:
    """Those of the table, conductance by the paper's rule with each of these numbers of steps."""
    paths = [{"name": "conductance", "id": f"conductance-{n}", "steps": n, "rule": "right", "spacing": "uniform"} for n in steps]
    return [*paths, {"name": "deeplift"}, {"name": "deeplift", "id": "rescale", "rules": "rescale"}, {"name": "gradient_x_delta"}]


def network(data: Path) -> Net:
    """With the folder's weights."""
    net = Net()
    net.load_state_dict(load_file(data / "allconv.safetensors"))
    return net.eval()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=os.environ.get("UNITRANK_MNIST"), help=WHERE)
    parser.add_argument("--steps", type=int, nargs="+", default=[10], choices=[10, 100])
    arguments = parser.parse_args()
    if arguments.data is None:
        parser.error(f"--data is missing: {WHERE}")
    net, images = network(arguments.data), np.load(arguments.data / "t10k.npz")["x"]
    print(f"{'layer':6} {'ranking':16} {'error':>9} {'expected':>9} {'predicting nothing':>19}")
    for layer in LAYERS:
        result = unitrank.rank(net, layer, images, methods=methods(arguments.steps), **REQUEST)
        for id, ranking in result.rankings.items():
            found = ranking.fidelity
            assert found is not None
            print(f"{layer:6} {id:16} {found.mae:9.4f} {EXPECTED[layer, id]:9.4f} {found.mae_of_zero:19.4f}")


if __name__ == "__main__":
    main()
