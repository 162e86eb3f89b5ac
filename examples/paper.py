"""Prints the prediction errors of arXiv:1807.09946, Fig. 1: how well do scores predict a change?

For each of 10 000 test images of MNIST, a tenth of the units after a ReLU are replaced. The new
values are those for a black image, and the units are those that differ most from them. The sum of
their scores predicts the change of the predicted class's logit, centred over the classes. The table
has the mean absolute error of this prediction.

Run `python examples/paper.py --data FOLDER`; it takes half a minute. `--steps 10 100` prints all
rows. The folder has allconv.safetensors (the network) and t10k.npz (images `x` of 1 × 28 × 28
bytes, labels `y`).
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
"""(layer, ranking) → prediction error. `conductance-N` has N steps of the article's rule."""
DATA_HELP = "folder with allconv.safetensors and t10k.npz; default: the variable UNITRANK_MNIST"
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
    """The methods of the table, with conductance by the article's rule for each number of steps."""
    paths = [{"name": "conductance", "id": f"conductance-{n}", "steps": n, "rule": "right", "spacing": "uniform"} for n in steps]
    return [*paths, {"name": "deeplift"}, {"name": "deeplift", "id": "rescale", "rules": "rescale"}, {"name": "gradient_x_delta"}]


def network(data: Path) -> Net:
    """The network with the weights in the folder, in evaluation mode."""
    net = Net()
    net.load_state_dict(load_file(data / "allconv.safetensors"))
    return net.eval()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=os.environ.get("UNITRANK_MNIST"), help=DATA_HELP)
    parser.add_argument("--steps", type=int, nargs="+", default=[10], choices=[10, 100])
    arguments = parser.parse_args()
    if arguments.data is None:
        parser.error(f"--data is missing; give the {DATA_HELP}")
    net, images = network(arguments.data), np.load(arguments.data / "t10k.npz")["x"]
    print(f"{'layer':6} {'ranking':16} {'error':>9} {'expected':>9} {'predicting no change':>21}")
    for layer in LAYERS:
        result = unitrank.rank(net, layer, images, methods=methods(arguments.steps), **REQUEST)
        for id, ranking in result.rankings.items():
            fidelity = ranking.fidelity
            assert fidelity is not None
            print(f"{layer:6} {id:16} {fidelity.mae:9.4f} {EXPECTED[layer, id]:9.4f} {fidelity.mae_of_zero:21.4f}")


if __name__ == "__main__":
    main()
