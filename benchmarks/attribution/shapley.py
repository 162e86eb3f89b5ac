"""Shapley values of the 64 channels of the paper's second layer, with 100 permutations.

Captum has no ShapleyValueSampling for layers, so it explains the layers behind as a function of the
layer's value, with one feature for each channel. The head runs once for Captum, and its seconds do
not count.
"""

import statistics

import numpy as np
import torch
from captum.attr import ShapleyValueSampling
from torch import nn

from benchmarks.attribution.bench import Bench, timed

PERMUTATIONS = 100
LAYER, CHANNELS = "relu2", 64
PER_EVAL = (1, 16, 64)
"""Numbers of perturbed copies in one pass of Captum that are tried."""
MOST_IMAGES = 20
"""Images that Captum explains. Its time per image is the same for every image."""


def shapley(bench: Bench, repeats: int) -> tuple[int, float, float]:
    """Return Captum's fastest number of copies, and the median seconds of the engine and of Captum.

    Raises SystemExit if both disagree by more than their errors.
    """
    images = min(MOST_IMAGES, len(bench.x))
    net, rows = bench.net, {"clusters": {"by": "members", "members": {"some": list(range(images))}}}
    tail = nn.Sequential(nn.Flatten(), net.fc1, net.relu3, net.fc2)
    with torch.no_grad():
        h = net.relu2(net.conv2(net.relu1(net.conv1(bench.x[:images]))))
    mask = torch.arange(CHANNELS).reshape(1, -1, 1, 1).expand(1, *h.shape[1:]).contiguous()
    captum = ShapleyValueSampling(tail)

    def explain(per_eval: int) -> np.ndarray:
        values = captum.attribute(
            h, baselines=0, target=3, feature_mask=mask, n_samples=PERMUTATIONS, perturbations_per_eval=per_eval
        )
        return np.asarray(values.detach()[:, :, 0, 0].double().mean(0).numpy())

    def rank() -> np.ndarray:
        method = {"name": "shapley", "fill": "zero", "permutations": PERMUTATIONS}
        return bench.job(LAYER, method, units="channel", **rows)

    per_eval = min(PER_EVAL, key=lambda per: timed(lambda: explain(per)))
    _agree(
        rank(),
        explain(per_eval),
        bench.job(LAYER, {"name": "shapley", "fill": "zero", "permutations": 2000}, units="channel", **rows),
    )
    seconds = [(timed(rank), timed(lambda: explain(per_eval))) for _ in range(repeats)]
    engine_seconds, captum_seconds = (statistics.median(each) for each in zip(*seconds, strict=True))
    return per_eval, engine_seconds, captum_seconds


def _agree(engine: np.ndarray, captum: np.ndarray, precise: np.ndarray) -> None:
    """Raises SystemExit where the engine's error exceeds twice Captum's error.

    `precise`: values of many more permutations.
    """
    ours, theirs = (float(np.abs(values - precise).max()) for values in (engine, captum))
    if ours > 2 * theirs:
        raise SystemExit(f"the engine's error is {ours:.1e} and Captum's is {theirs:.1e}; at most twice Captum's is accepted")
