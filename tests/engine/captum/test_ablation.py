"""Exact ablation gives the numbers of Captum's tests, and those of Captum on the same net.

Source: tests/attr/layer/test_layer_ablation.py of pytorch/captum at faac0877. Of its masks of
several units, only those of a whole channel are used here.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from captum.attr import LayerActivation, LayerFeatureAblation

from tests.engine.captum.toys import COUNTING, ONES, module, scores

TO_ZERO = {"name": "exact_ablation", "fill": "zero"}
TO_BASELINE = {"name": "exact_ablation", "fill": "baseline"}
ADDED = ([[23, 100, 0], [20, 50, 30]], [[20, 50, 30], [0, 100, 0]], [[0, 100, 10], [2, 10, 3]])
FILL = [1, 2, 3]
WINDOWS = [[[4, 13], [40, 49]], [[0, 0], [-15, -24]]]


@pytest.mark.parametrize(("layer", "at"), [("net.model.linear1", "input"), ("net.model.linear0", "output")])
def test_losses_of_units_that_get_their_baseline_equal_captums_numbers(layer: str, at: str, tmp_path: Path) -> None:
    """Captum fills the layer with 1, 2, 3, which are the layer's values at the baseline here."""
    start = np.array(FILL) - np.array(ADDED[1]) - np.array(ADDED[2])

    got = scores("sum of one and two fixed ones", tmp_path, ADDED, layer, TO_BASELINE, at, baseline=start)

    np.testing.assert_array_equal(got, [[168, 992, 148], [84, 632, 120]])


@pytest.mark.parametrize("at", ["input", "output"])
@pytest.mark.parametrize("branch", [1, 2])
def test_losses_of_branches_equal_captums_numbers(branch: int, at: str, tmp_path: Path) -> None:
    got = scores("two branches", tmp_path, ([[0, 6, 0]],), f"multi_relu.relu{branch}", TO_ZERO, at)

    np.testing.assert_array_equal(got, [[0, 7, 7, 7]])


@pytest.mark.parametrize(("at", "method"), [("output", TO_ZERO), ("input", TO_BASELINE)], ids=["to zero", "to below zero"])
def test_losses_around_a_relu_equal_captums_numbers(at: str, method: dict[str, Any], tmp_path: Path) -> None:
    """The convolution of a black image is negative, as are Captum's fills before the ReLU."""
    got = scores("one convolution in place, of two images", tmp_path, (COUNTING, ONES), "relu1", method, at)

    np.testing.assert_array_equal(got, [WINDOWS])


@pytest.mark.parametrize("units", ["neuron", "channel"])
@pytest.mark.parametrize("layer", ["conv1", "relu1", "pool1", "conv2", "pool2"])
def test_losses_equal_the_losses_of_captum_on_the_same_net(layer: str, units: str, tmp_path: Path) -> None:
    net, target = module("convolutional"), 7
    x, start = 10 * torch.randn(2, 3, 1, 10, 10, generator=torch.Generator().manual_seed(5))
    place = net, net.get_submodule(layer)
    fill = LayerActivation(*place).attribute(start).detach()
    mask = torch.arange(fill[0].numel()).view(1, *fill.shape[1:])
    if units == "channel":
        mask = torch.arange(fill.shape[1]).view(1, -1, 1, 1).expand_as(mask)

    expected = LayerFeatureAblation(*place).attribute(x, fill, target=target, layer_mask=mask, perturbations_per_eval=32).numpy()

    got = scores("convolutional", tmp_path, (x.numpy(),), layer, TO_BASELINE, "output", start.numpy(), target, units)
    want = expected if units == "neuron" else expected[:, :, 0, 0]
    assert np.abs(want).max() >= 0.01
    np.testing.assert_allclose(got.reshape(want.shape), want, rtol=0, atol=1e-6 + 1e-5 * np.abs(want).max())
