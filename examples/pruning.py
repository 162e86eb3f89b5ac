"""Prune a network: which channels can go, and what accuracy is left?

A small CNN learns scikit-learn's scans of handwritten digits. A job ranks the channels of a layer
by three methods, and sets the least important ones to zero. Then the mask of the best ranking is
applied to the network itself. Its accuracy on the same scans is the one that the job predicted.

Run `python examples/pruning.py`; the script takes 10 seconds.
"""

import argparse
from pathlib import Path
from typing import Any

import torch

import unitrank
from unitrank.server.demo_network import digits, train

METHODS: list[Any] = ["shapley", "taylor", "weight_norm"]
LAYER = "relu2"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--remove", type=float, default=0.3, help="share of the channels to remove")
    parser.add_argument("--output", type=Path, default=Path("mask.safetensors"), help="file for the mask")
    arguments = parser.parse_args()
    scans = digits(seed=0)
    network, _ = train(scans, seed=0)
    x, y = scans.test

    result = unitrank.rank(
        network,
        LAYER,
        x,
        y,
        units="channel",
        methods=METHODS,
        clusters={"by": "all"},
        ablation={"fill": "zero", "fractions": sorted({0.1, 0.3, 0.5, arguments.remove}), "random": 19, "tolerance": 0.02},
    )
    print(result)
    mask = result.mask(arguments.remove)
    print(mask)

    exec(mask.snippet(mask.save(arguments.output)), {"model": network})
    rows = result.arrays["tests/rows"]
    with torch.no_grad():
        right = network(torch.from_numpy(x[rows])).argmax(1).numpy() == y[rows]
    print(f"accuracy of the pruned network on the same {len(rows)} scans: {right.mean():.4g}")


if __name__ == "__main__":
    main()
