"""DeepLIFT with Rescale gives the numbers of Captum's tests, and is complete where they require it.

Sources: tests/attr/layer/test_layer_deeplift.py, tests/attr/test_deeplift_basic.py and
test_deeplift_classification.py of pytorch/captum at faac0877.
"""

from math import tanh
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.engine.captum.toys import module, scores

RESCALE = {"name": "deeplift", "rules": "rescale"}
APART = ([[-10, 1, -5]], [[3, 3, 1]])
POOLED = [[1, 2, 3, 9], [4, 8, 6, 7]]


@pytest.mark.parametrize(
    ("name", "inputs", "layer", "at", "expected"),
    [
        ("relu in place and linear", APART, "relu", "input", [[0, 15]]),
        ("relu and linear", APART, "relu", "input", [[0, 15]]),
        ("relu and linear, tripled", APART, "net.relu", "input", [[0, 45]]),
        ("relu in place and linear", APART, "l3", "input", [[0, 15]]),
        ("relu in place and linear", tuple(part * 3 for part in APART), "l3", "input", [[0, 15]] * 3),
        ("relu in place and linear", tuple(part * 3 for part in APART), "l3", "output", [[15]] * 3),
        ("max pool and relu in place", ([[[1, 2, -4], [-3, -2, -1]]],), "maxpool", "output", [[[2], [0]]]),
        ("two ReLUs", ([[1]] * 4, [[2]] * 4), "input:x1", "output", [[2]] * 4),
        ("two ReLUs", ([[1]] * 4, [[2]] * 4), "input:x2", "output", [[1]] * 4),
        ("two hyperbolic tangents", ([[-1]], [[-2]]), "input:x1", "output", [[2 * tanh(-1)]]),
        ("two hyperbolic tangents", ([[-1]], [[-2]]), "input:x2", "output", [[2 * (tanh(-3.5) - tanh(-1.5))]]),
    ],
)
def test_scores_of_a_single_output_equal_captums_numbers(
    name: str, inputs: tuple[Any, ...], layer: str, at: str, expected: list[Any], tmp_path: Path
) -> None:
    got = scores(name, tmp_path, inputs, layer, RESCALE, at, target=None)

    np.testing.assert_allclose(got, np.array(expected), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("branch", [1, 2])
def test_scores_of_branches_equal_captums_numbers(branch: int, tmp_path: Path) -> None:
    got = scores("two branches", tmp_path, APART[:1], f"multi_relu.relu{branch}", RESCALE)

    np.testing.assert_array_equal(got, [[0, -1, -1, -1]])


@pytest.mark.parametrize(
    ("layer", "expected"),
    [("pool1", [[[-8]], [[-7]]]), ("input", [[0, 0, 0, -8], [0, -7, 0, 0]]), ("lin1", [[[0, 0, 0, -8]], [[0, -7, 0, 0]]])],
)
def test_scores_around_a_max_pool_equal_captums_numbers(layer: str, expected: list[Any], tmp_path: Path) -> None:
    got = scores("linear around max pool", tmp_path, ([[1] * 4] * 2,), layer, RESCALE, baseline=POOLED, target=None)

    np.testing.assert_allclose(got, np.array(expected), rtol=1e-6, atol=1e-6)


SHAPES = {
    "convolutional": (1, 10, 10),
    "convolutional in one dimension": (1, 10),
    "convolutional in three dimensions": (1, 10, 10, 10),
}
COUNTED = torch.arange(120.0).reshape(3, 40)


@pytest.mark.parametrize("name", ["convolutional", "convolutional in three dimensions"])
def test_scores_after_a_pool_equal_the_scores_before_the_next_convolution(name: str, tmp_path: Path) -> None:
    x = _drawn(name, 100)

    behind, before = (scores(name, tmp_path, (x.numpy(),), *place) for place in (("pool1", RESCALE), ("conv2", RESCALE, "input")))

    assert np.abs(behind).max() >= 0.01
    np.testing.assert_array_equal(behind, before)


@pytest.mark.parametrize("layer", ["input", "pool1", "fc1"])
@pytest.mark.parametrize("spread", [20, 500])
@pytest.mark.parametrize("name", SHAPES)
def test_scores_on_convolutions_sum_to_the_change(name: str, spread: float, layer: str, tmp_path: Path) -> None:
    _check_sum(name, tmp_path, _drawn(name, 100), _drawn(name, spread, seed=1), layer)


@pytest.mark.parametrize("layer", ["input", "lin1", "lin2", "lin3"])
@pytest.mark.parametrize("start", [torch.zeros(3, 40), torch.arange(1.0, 41.0).expand(3, 40)], ids=["zeros", "counted"])
def test_scores_before_a_softmax_sum_to_the_change(start: torch.Tensor, layer: str, tmp_path: Path) -> None:
    _check_sum("softmax", tmp_path, COUNTED, start, layer)


@pytest.mark.parametrize("layer", ["input", "lin1", "lin2"])
def test_scores_before_a_sigmoid_sum_to_the_change(layer: str, tmp_path: Path) -> None:
    _check_sum("sigmoid", tmp_path, torch.arange(20.0)[None], torch.zeros(1, 20), layer)


def _drawn(name: str, spread: float, seed: int = 0) -> torch.Tensor:
    return spread * torch.randn(2, *SHAPES[name], generator=torch.Generator().manual_seed(seed))


def _check_sum(name: str, folder: Path, x: torch.Tensor, start: torch.Tensor, layer: str) -> None:
    """Check the sum for the class that changes most.

    The weights are drawn: with all ones no class changes.
    """
    with torch.no_grad():
        changes = (module(name)(x) - module(name)(start)).numpy()
    column = int(np.abs(changes).sum(0).argmax())
    change, target = changes[:, column], column if changes.shape[1] > 1 else None

    got = scores(name, folder, (x.numpy(),), layer, RESCALE, baseline=start.numpy(), target=target)

    assert np.abs(change).max() >= 0.05
    assert np.abs(got.reshape(len(got), -1).sum(1) - change).max() <= 1e-5 * np.abs(change).max()
