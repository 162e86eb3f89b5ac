"""The path methods give the numbers of Captum's tests.

Sources: test_layer_conductance.py, test_internal_influence.py and
test_layer_integrated_gradients.py in tests/attr/layer of pytorch/captum at faac0877. Captum's 500
Gauss-Legendre nodes are 500 intervals here; the results differ in the interval where a ReLU has its
kink.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from captum.attr import LayerIntegratedGradients
from captum.testing.attr.helpers.conductance_reference import ConductanceReference

from tests.engine.captum.toys import HUNDRED, SMALL, SUM_OF_20, SUM_OF_25, module, scores

STEPS = 500
BATCH_OF_SUMS = ([[0, 10, 1], [0, 0, 10]], [[0, 4, 5], [0, 0, 10]], [[0, 0, 0], [0, 0, 5]])
BATCH_OF_LARGER_SUMS = ([[0, 6, 14], [0, 80, 0]], [[0, 6, 14], [0, 20, 0]], [[0, 0, 0], [0, 20, 0]])

CONDUCTANCES = [
    ("layers", HUNDRED, "linear0", [[0, 390, 0]]),
    ("layers", HUNDRED, "linear1", [[90, 100, 100, 100]]),
    ("layers", HUNDRED, "relu", [[90, 100, 100, 100]]),
    ("layers", HUNDRED, "linear2", [[390, 0]]),
    ("sum of three, times 4", SUM_OF_25, "net.model.linear2", [[390, 0]]),
    ("sum of two and a fixed one, times 5", SUM_OF_20, "net.model.relu", [[90, 100, 100, 100]]),
    ("sum of two and a fixed one, times 5", BATCH_OF_SUMS, "net.model.relu", [[90, 100, 100, 100], [100, 100, 100, 100]]),
]
BRANCHES = [("two branches", HUNDRED, f"multi_relu.relu{branch}", [[90, 100, 100, 100]]) for branch in (1, 2)]


@pytest.mark.parametrize(("name", "inputs", "layer", "expected"), [*CONDUCTANCES, *BRANCHES])
def test_conductance_equals_captums_number(
    name: str, inputs: tuple[Any, ...], layer: str, expected: list[list[float]], tmp_path: Path
) -> None:
    got = scores(name, tmp_path, inputs, layer, {"name": "conductance", "steps": STEPS})

    assert np.abs(got - np.array(expected)).sum() <= 0.1


@pytest.mark.parametrize(("name", "inputs", "layer", "expected"), CONDUCTANCES)
def test_conductance_to_a_tolerance_then_sums_as_near_as_captums(
    name: str, inputs: tuple[Any, ...], layer: str, expected: list[list[float]], tmp_path: Path
) -> None:
    got = scores(name, tmp_path, inputs, layer, {"name": "conductance", "tolerance": 2e-5})

    assert np.abs(got.sum(1) - np.sum(expected, 1)).max() <= 0.01


@pytest.mark.parametrize(
    ("layer", "count", "based"),
    [("conv1", 1, False), ("pool1", 1, False), ("conv2", 1, False), ("pool2", 1, False), ("relu3", 4, False), ("fc1", 3, True)],
)
def test_conductance_equals_captums_slow_reference(layer: str, count: int, based: bool, tmp_path: Path) -> None:
    """The reference uses ∂h/∂x; the engine uses differences of h.

    Captum allows 0.07, on a net whose softmax is constant.
    """
    net = module("convolutional")
    drawn = 10 * torch.randn(2, count, 1, 10, 10, generator=torch.Generator().manual_seed(3))
    x, start = drawn[0], drawn[1] if based else None
    target = int(net(x).sum(0).argmax())
    reference = ConductanceReference(net, net.get_submodule(layer))

    expected = reference.attribute(x.clone().requires_grad_(), start, target=target, n_steps=300, method="gausslegendre")

    baseline = None if start is None else start.numpy()
    got = scores("convolutional", tmp_path, (x.numpy(),), layer, {"name": "conductance", "steps": 300}, "output", baseline, target)
    want = expected.detach().numpy()
    assert np.abs(want).max() >= 0.03
    assert np.abs(got - want).max() <= 0.01 * np.abs(want).max()


@pytest.mark.parametrize(
    ("name", "inputs", "layer", "at", "expected"),
    [
        ("layers", HUNDRED, "linear0", "output", [[3.9, 3.9, 3.9]]),
        ("two branches", HUNDRED, "multi_relu.relu1", "input", [[0.9, 1, 1, 1]]),
        ("two branches", HUNDRED, "multi_relu.relu2", "input", [[0.9, 1, 1, 1]]),
        ("layers", HUNDRED, "linear1", "output", [[0.9, 1, 1, 1]]),
        ("layers in place", HUNDRED, "relu", "input", [[0.9, 1, 1, 1]]),
        ("layers in place", HUNDRED, "linear1", "output", [[0.9, 1, 1, 1]]),
        ("layers", SMALL, "relu", "output", [[1, 1, 1, 1]]),
        ("layers", HUNDRED, "linear2", "output", [[1, 0]]),
        ("layers", (HUNDRED[0] * 4,), "linear1", "output", [[0.9, 1, 1, 1]] * 4),
        ("sum of three, times 4", SUM_OF_25, "net.model.linear2", "output", [[1, 0]]),
        ("sum of two and a fixed one, times 5", SUM_OF_20, "net.model.relu", "output", [[1, 1, 1, 1]]),
        (
            "sum of two and a fixed one, times 5",
            BATCH_OF_LARGER_SUMS,
            "net.model.linear1",
            "output",
            [[0.95, 1, 1, 1], [1, 1, 1, 1]],
        ),
    ],
)
def test_internal_influence_equals_captums_number(
    name: str, inputs: tuple[Any, ...], layer: str, at: str, expected: list[list[float]], tmp_path: Path
) -> None:
    got = scores(name, tmp_path, inputs, layer, {"name": "internal_influence", "steps": STEPS}, at)

    np.testing.assert_allclose(got, np.array(expected), rtol=0, atol=1 / STEPS)


@pytest.mark.parametrize(
    ("x", "start", "captums", "exact"),
    [
        ([[0, 80, 0]], [[0, -20, 0]], [[0.7, 0.8, 0.8, 0.8]], [[0.7, 0.81, 0.81, 0.81]]),
        (
            [[0, 80, 0], [30, 30, 0]],
            [[0, -20, 0], [-20, -20, 0]],
            [[0.7, 0.8, 0.8, 0.8], [0.5, 0.6, 0.6, 0.6]],
            [[0.7, 0.81, 0.81, 0.81], [0.5, 0.61, 0.61, 0.61]],
        ),
    ],
)
def test_internal_influence_from_a_baseline_equals_captums_number(
    x: list[Any], start: list[Any], captums: list[list[float]], exact: list[list[float]], tmp_path: Path
) -> None:
    """Captum's numbers are accurate to 0.01.

    The inputs' sum passes −1, where three ReLUs have their kink, at α = 0.19 and 0.39.
    """
    got = scores("layers", tmp_path, (x,), "linear1", {"name": "internal_influence", "steps": STEPS}, baseline=start)

    np.testing.assert_allclose(got, np.array(captums), rtol=0, atol=0.01)
    np.testing.assert_allclose(got, np.array(exact), rtol=0, atol=1 / STEPS)


@pytest.mark.parametrize(("name", "inputs", "layer", "expected"), BRANCHES)
def test_integrated_gradients_equal_captums_number(
    name: str, inputs: tuple[Any, ...], layer: str, expected: list[list[float]], tmp_path: Path
) -> None:
    got = scores(name, tmp_path, inputs, layer, {"name": "integrated_gradients"})

    np.testing.assert_allclose(got, np.array(expected), rtol=1e-6)


@pytest.mark.parametrize("at", ["input", "output"])
def test_integrated_gradients_where_the_path_is_straight_then_equal_conductance(at: str, tmp_path: Path) -> None:
    x = ([[50, 50, 50]],)

    line, path = (
        scores("layers", tmp_path, x, "linear2", {"name": name, "steps": 1500}, at)
        for name in ("integrated_gradients", "conductance")
    )

    np.testing.assert_allclose(line, path, rtol=0, atol=0.01)
    np.testing.assert_allclose(line.sum(), 590, rtol=1e-4)


@pytest.mark.parametrize("rule", ["left", "right"])
def test_integrated_gradients_between_embedded_ids_equal_captum(rule: str, tmp_path: Path) -> None:
    """Captum's test compares with its gradients of the embedded inputs, to 0.05 of a thousand."""
    net = module("embedded")
    ids = torch.tensor([[2, 5, 0, 1], [3, 1, 1, 0]])

    expected = LayerIntegratedGradients(net, net.get_submodule("net.embedding1")).attribute(
        ids, torch.zeros_like(ids), n_steps=6, method=f"riemann_{rule}"
    )

    method = {"name": "integrated_gradients", "steps": 6, "rule": rule, "spacing": "uniform"}
    got = scores("embedded", tmp_path, (ids.numpy(),), "net.embedding1", method, baseline=[[0, 0, 0, 0]], target=None)
    want = expected.detach().numpy()
    assert np.abs(got - want).max() <= 1e-5 * np.abs(want).max()


@pytest.mark.parametrize("rule", ["left", "right"])
@pytest.mark.parametrize("layer", ["conv1", "pool1", "conv2", "relu3", "fc2"])
def test_integrated_gradients_on_uniform_steps_equal_captum(layer: str, rule: str, tmp_path: Path) -> None:
    net = module("convolutional")
    x, start = 10 * torch.randn(2, 3, 1, 10, 10, generator=torch.Generator().manual_seed(4))

    expected = LayerIntegratedGradients(net, net.get_submodule(layer)).attribute(
        x, start, target=7, n_steps=6, method=f"riemann_{rule}"
    )

    method = {"name": "integrated_gradients", "steps": 6, "rule": rule, "spacing": "uniform"}
    got = scores("convolutional", tmp_path, (x.numpy(),), layer, method, "output", start.numpy(), target=7)
    want = expected.detach().numpy()
    assert np.abs(got - want).max() <= 1e-5 * np.abs(want).max()
