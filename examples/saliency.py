"""Where a network looks: saliency of the pixels of an image, over the image, and whether it is more than a picture.

A small CNN learns scikit-learn's scans of handwritten digits. The place is `input`, so that the units are the pixels, and each
digit is a cluster. Three maps of one scan are drawn over it and saved: the gradient, SmoothGrad (the gradient averaged over
noisy copies) and integrated gradients (conductance of the input). The verdict is reached for each as for any other ranking: the
pixels of scans that the ranking has not seen are erased. Run `python examples/saliency.py --digit 8`; it takes seconds.
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
    parser.add_argument("--digit", default="8", choices=list("0123456789"))
    parser.add_argument("--output", type=Path, default=Path("."), help="the folder for the pictures")
    arguments = parser.parse_args()
    scans = digits(seed=0)
    network, accuracy = train(scans, seed=0)
    x, y = scans.test
    print(f"right for {accuracy:.1%} of the scans that it never saw")

    result = unitrank.rank(
        network, "input", x, y, methods=METHODS, clusters={"by": "label", "limit": 40}, target={"score": "margin"}, keep_examples=1
    )
    print(result)
    # What is kept is of the cluster's first example, and `rows` says which one that is.
    row = result.arrays[f"rows/{arguments.digit}"][0]
    arguments.output.mkdir(parents=True, exist_ok=True)
    for id in ("gradient.mean_abs", "smoothgrad", "integrated_gradients"):
        picture = draw("heatmap", result.summary, result.arrays, Choice(arguments.digit, id, example=0, background=x[row, 0]))
        picture.savefig(arguments.output / f"saliency-{id}.png")
        where = ", ".join("row {} column {}".format(*unit.index[1:]) for unit in result.top(3, id)[arguments.digit])
        print(
            f"{arguments.output / f'saliency-{id}.png'}; over all scans of {arguments.digit} the pixels that matter most: {where}"
        )


if __name__ == "__main__":
    main()
