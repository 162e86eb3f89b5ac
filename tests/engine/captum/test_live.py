"""The methods equal Captum 0.9's on places that its hooks see, with the batch on axis 0."""

from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from captum.attr import InternalInfluence, LayerActivation, LayerConductance, LayerGradientXActivation
from torch import Tensor, nn

from tests.engine.in_process import rank
from tests.engine.nets import net_of, program

STEPS = 6
PLACES = [
    ("functional", "fc1", "output"),
    ("functional", "fc2", "input"),
    ("functional", "fc2", "output"),
    ("in_place", "relu1", "output"),
    ("residual", "blocks.0", "output"),
    ("residual", "blocks.0.fc1", "output"),
    ("convolutional", "features.0", "output"),
    ("convolutional", "features.3", "output"),
    ("convolutional", "head", "input"),
    ("attentive", "attention.value", "output"),
]


@pytest.fixture(params=PLACES, ids="-".join)
def place(request: pytest.FixtureRequest) -> tuple[str, str, str]:
    name, layer, at = request.param
    return name, layer, at


def test_activation_equals_captum(place: tuple[str, str, str], tmp_path: Path) -> None:
    layer, x, to_input, _ = _captum(place)

    expected = LayerActivation(*layer).attribute(x, attribute_to_layer_input=to_input)

    _same(_ours(place, tmp_path, ["activation"])["activation"], expected)


def test_gradient_and_gradient_x_activation_equal_captum(place: tuple[str, str, str], tmp_path: Path) -> None:
    layer, x, to_input, labels = _captum(place)

    plain, product = (
        LayerGradientXActivation(*layer, multiply_by_inputs=multiply).attribute(x, target=labels, attribute_to_layer_input=to_input)
        for multiply in (False, True)
    )

    ours = _ours(place, tmp_path, ["gradient", "gradient_x_activation"])
    _same(ours["gradient"], plain)
    _same(ours["gradient_x_activation"], product)


def test_conductance_on_uniform_left_ends_equals_captums_trapezoid(place: tuple[str, str, str], tmp_path: Path) -> None:
    """Captum's `riemann_trapezoid` has n + 1 even nodes and uses the gradient at the left ends."""
    layer, x, to_input, labels = _captum(place)

    expected = LayerConductance(*layer).attribute(
        x, torch.zeros_like(x), target=labels, n_steps=STEPS, method="riemann_trapezoid", attribute_to_layer_input=to_input
    )

    method = {"name": "conductance", "steps": STEPS, "rule": "left", "spacing": "uniform"}
    _same(_ours(place, tmp_path, [method])["conductance"], expected)


@pytest.mark.parametrize("rule", ["left", "right", "trapezoid"])
def test_internal_influence_on_uniform_steps_equals_captum(place: tuple[str, str, str], rule: str, tmp_path: Path) -> None:
    """Captum's trapezoid of n nodes has n − 1 intervals, but weighs each by 1/n."""
    layer, x, to_input, labels = _captum(place)
    nodes = STEPS + 1 if rule == "trapezoid" else STEPS

    expected = InternalInfluence(*layer).attribute(
        x, torch.zeros_like(x), target=labels, n_steps=nodes, method=f"riemann_{rule}", attribute_to_layer_input=to_input
    )

    method = {"name": "internal_influence", "steps": STEPS, "rule": rule, "spacing": "uniform"}
    _same(_ours(place, tmp_path, [method])["internal_influence"], expected * nodes / STEPS)


def _captum(place: tuple[str, str, str]) -> tuple[tuple[nn.Module, nn.Module], Tensor, bool, Tensor]:
    """Module and layer in float64, the inputs, the side, and a class for each example."""
    name, layer, at = place
    module = _double(name)
    x = net_of(name).examples(4)
    return (module, module.get_submodule(layer)), x.double(), at == "input", torch.tensor([2, 0, 1, 1])


def _double(name: str) -> nn.Module:
    return deepcopy(net_of(name).module).double()


def _ours(place: tuple[str, str, str], folder: Path, methods: list[Any]) -> dict[str, np.ndarray]:
    name, layer, at = place
    fields = {"x": net_of(name).examples(4).numpy(), "y": np.array([2, 0, 1, 1])}
    _, arrays = rank(program(name), folder, fields, layer, methods, at=at, ablation=None, fidelity=None, keep_examples=4)
    return {key.split("/")[1]: values for key, values in arrays.items() if key.startswith("examples/")}


def _same(ours: np.ndarray, captums: Any) -> None:
    """Compare to within 1e-5 of the largest value."""
    want = captums.detach().numpy()
    assert np.abs(ours - want).max() <= 1e-5 * np.abs(want).max()
