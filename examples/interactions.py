"""Which channels of a CNN can do each other's work, and which need each other?

A small CNN learns scikit-learn's scans of handwritten digits. A job estimates the Shapley values of
the first layer's channels, and stops as soon as the first eight are settled. Then it replaces each
pair of these eight. The second difference of a pair says whether the effects of its two channels
add up. The script computes one of them again, with a hook on the network itself.

Run `python examples/interactions.py`; the script takes 12 seconds.
"""

import argparse

import numpy as np
import torch
from torch import Tensor, nn

import unitrank
from unitrank.server.demo_network import digits, train

LAYER = "relu1"
TOP = 8


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    scans = digits(seed=0)
    network, _ = train(scans, seed=0)
    x, y = scans.test

    result = unitrank.rank(
        network,
        LAYER,
        x,
        y,
        units="channel",
        methods=[{"name": "shapley", "permutations": 200, "settle": TOP}],
        clusters={"by": "all"},
        ablation={"fill": "zero", "random": 99, "pairs": TOP},
    )
    print(result)
    channels = [int(unit.unit) for unit in result.top(TOP)["all"]]
    pairs = result.arrays["pairs/shapley"][0]
    print(
        "effect of each channel:",
        ", ".join(f"{channel}: {effect:.3f}" for channel, effect in zip(channels, np.diag(pairs), strict=True)),
    )

    rows, columns = np.triu_indices(TOP, k=1)
    order = np.argsort(pairs[rows, columns])
    for words, pair in (("do each other's work", order[0]), ("need each other", order[-1])):
        i, j = rows[pair], columns[pair]
        print(f"channels {channels[i]} and {channels[j]} {words}: {pairs[i, j]:+.3f}")

    i, j = rows[order[0]], columns[order[0]]
    tests = result.arrays["tests/rows"]
    score = [mean_score(network, x[tests], y[tests], off) for off in ([], [channels[i]], [channels[j]], [channels[i], channels[j]])]
    print(f"the first pair again, by a hook: {score[0] - score[1] - score[2] + score[3]:+.3f}")


def mean_score(network: nn.Module, x: np.ndarray, y: np.ndarray, off: list[int]) -> float:
    """Return the mean logit of the right digit, with channels set to 0."""

    def hook(module: nn.Module, inputs: tuple[Tensor, ...], value: Tensor) -> Tensor:
        changed = value.clone()
        changed[:, off] = 0
        return changed

    handle = network.get_submodule(LAYER).register_forward_hook(hook)
    with torch.no_grad():
        logits = network(torch.from_numpy(x))
    handle.remove()
    return float(logits.gather(1, torch.from_numpy(y)[:, None]).mean())


if __name__ == "__main__":
    main()
