"""Activation, gradient × activation and Grad-CAM give the numbers of Captum's tests.

Sources: test_layer_activation.py, test_layer_gradient_x_activation.py and test_grad_cam.py in
tests/attr/layer of pytorch/captum at faac0877.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.engine.captum.toys import COUNTING, HUNDRED, ONES, SMALL, SUM_OF_20, SUM_OF_25, scores


@pytest.mark.parametrize(
    ("name", "inputs", "layer", "at", "expected"),
    [
        ("layers", HUNDRED, "linear0", "output", [0, 100, 0]),
        ("layers", HUNDRED, "linear1", "output", [90, 101, 101, 101]),
        ("layers in place", ([[2, -5, 4]],), "relu", "input", [-9, 2, 2, 2]),
        ("layers in place", ([[2, -5, 4]],), "linear1", "output", [-9, 2, 2, 2]),
        ("layers", SMALL, "relu", "output", [0, 8, 8, 8]),
        ("layers", HUNDRED, "linear2", "output", [392, 394]),
        ("two branches", ([[0, 6, 0]],), "multi_relu.relu1", "output", [0, 7, 7, 7]),
        ("two branches", ([[0, 6, 0]],), "multi_relu.relu2", "output", [0, 7, 7, 7]),
        ("two branches", ([[0, 6, 0]],), "linear0", "output", [0, 6, 0]),
        ("two branches", ([[0, 6, 0]],), "linear1", "output", [-4, 7, 7, 7]),
        ("two branches", ([[0, 6, 0]],), "multi_relu.relu1", "input", [-4, 7, 7, 7]),
        ("two branches", ([[0, 6, 0]],), "multi_relu.relu2", "input", [-4, 7, 7, 7]),
        ("sum of three, times 4", SUM_OF_25, "net.model.linear2", "output", [392, 394]),
        ("sum of two and a fixed one, times 5", SUM_OF_20, "net.model.relu", "output", [90, 101, 101, 101]),
    ],
)
def test_activation_equals_captums_number(
    name: str, inputs: tuple[Any, ...], layer: str, at: str, expected: list[float], tmp_path: Path
) -> None:
    got = scores(name, tmp_path, inputs, layer, {"name": "activation"}, at)

    np.testing.assert_array_equal(got, [expected])


@pytest.mark.parametrize(
    ("name", "inputs", "layer", "expected"),
    [
        ("layers", HUNDRED, "linear0", [0, 400, 0]),
        ("layers", HUNDRED, "linear1", [90, 101, 101, 101]),
        ("layers", SMALL, "relu", [0, 8, 8, 8]),
        ("layers", HUNDRED, "linear2", [392, 0]),
        ("two branches", SMALL, "multi_relu.relu1", [0, 8, 8, 8]),
        ("two branches", SMALL, "multi_relu.relu2", [0, 8, 8, 8]),
        ("two branches", SMALL, "linear0", [9, 12, 0]),
        ("sum of three, times 4", SUM_OF_25, "net.model.linear2", [392, 0]),
        ("sum of two and a fixed one, times 5", SUM_OF_20, "net.model.relu", [90, 101, 101, 101]),
    ],
)
def test_gradient_x_activation_equals_captums_number(
    name: str, inputs: tuple[Any, ...], layer: str, expected: list[float], tmp_path: Path
) -> None:
    got = scores(name, tmp_path, inputs, layer, {"name": "gradient_x_activation"})

    np.testing.assert_array_equal(got, [expected])


NEGATIVE_INSIDE = np.where(COUNTING == 5, -4, COUNTING)


@pytest.mark.parametrize(
    ("name", "inputs", "layer", "at", "expected"),
    [
        ("one convolution", (COUNTING,), "conv1", "output", [[11.25, 13.5], [20.25, 22.5]]),
        ("one convolution", (COUNTING,), "relu1", "output", [[0, 4], [28, 32.5]]),
        ("one convolution", (NEGATIVE_INSIDE,), "conv1", "input", 0.5625 * NEGATIVE_INSIDE[0, 0]),
        ("one convolution in place, of two images", (COUNTING, ONES), "conv1", "output", [[14.5, 19], [32.5, 37]]),
    ],
)
def test_grad_cam_when_its_channels_are_summed_then_equals_captums_number(
    name: str, inputs: tuple[Any, ...], layer: str, at: str, expected: Any, tmp_path: Path
) -> None:
    got = scores(name, tmp_path, inputs, layer, {"name": "grad_cam"}, at)

    np.testing.assert_allclose(got.sum(1), np.array([expected]), rtol=1e-6)


def test_grad_cam_of_each_channel_equals_captums_number(tmp_path: Path) -> None:
    got = scores("one convolution", tmp_path, (COUNTING,), "conv1", {"name": "grad_cam"})

    np.testing.assert_array_equal(got, [[[[-3.75, 3], [23.25, 30]], [[15, 10.5], [-3, -7.5]]]])
