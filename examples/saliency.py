"""Saliency maps of an image, and a test of each map by ablation.

A small CNN learns scikit-learn's scans of handwritten digits. The layer is `input`, so the units
are the pixels. Each digit is a cluster. Three maps of one scan are drawn over the scan and saved:
the gradient, SmoothGrad (the gradient averaged over noisy copies) and integrated gradients
(conductance of the input). Each map gets a verdict like any other ranking: its top pixels are
erased in scans that the map was not computed from.

Run `python examples/saliency.py --digit 8`; the script takes 10 seconds.
"""

import argparse
from pathlib import Path
from typing import Any

import unitrank
from unitrank.server.demo_network import digits, train
from unitrank_plots import Choice
from unitrank_plots.figures import draw

METHODS: list[Any] = [
    {"name": "gradient", "statistic": "mean_abs"},
    {"name": "gradient", "statistic": "mean_abs", "noise": {"samples": 10, "level": 0.1}, "id": "smoothgrad"},
    {"name": "conductance", "id": "integrated_gradients"},
    "random",
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--digit", default="8", choices=list("0123456789"), help="digit whose maps are drawn")
    parser.add_argument("--output", type=Path, default=Path("."), help="folder for the pictures")
    arguments = parser.parse_args()
    scans = digits(seed=0)
    network, accuracy = train(scans, seed=0)
    x, y = scans.test
    print(f"{accuracy:.1%} of the test scans are classified correctly")

    result = unitrank.rank(
        network, "input", x, y, methods=METHODS, clusters={"by": "label", "limit": 40}, target={"score": "margin"}, keep_examples=1
    )
    print(result)
    # The kept scores are those of the cluster's first example; `rows` has its number in the data.
    row = result.arrays[f"rows/{arguments.digit}"][0]
    arguments.output.mkdir(parents=True, exist_ok=True)
    for id in ("gradient.mean_abs", "smoothgrad", "integrated_gradients"):
        picture = draw("heatmap", result.summary, result.arrays, Choice(arguments.digit, id, example=0, background=x[row, 0]))
        picture.savefig(arguments.output / f"saliency-{id}.png")
        pixels = ", ".join("row {} column {}".format(*unit.index[1:]) for unit in result.top(3, id)[arguments.digit])
        print(f"{arguments.output / f'saliency-{id}.png'}; over all scans of {arguments.digit} the most important pixels: {pixels}")


if __name__ == "__main__":
    main()
