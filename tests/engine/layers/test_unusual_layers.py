"""Layers with one value, behind a comparison, or with types of their own."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.fx import graph_module

from tests.engine.in_process import program_of, rank

X = torch.randn(24, 5, generator=torch.Generator().manual_seed(3))
NO_TESTS: dict[str, Any] = {"ablation": None, "fidelity": None, "target": {"class": 1}}
ABLATION = {"fractions": [0.3, 0.6], "random": 19, "fill": "zero", "split": "none"}


class Gated(nn.Module):
    """A block whose last layer has its value, and a gate that passes no gradient."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.block = nn.Sequential(nn.Linear(5, 6), nn.Tanh())
        self.gate, self.end = Gate(), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = self.block(x)
        out: Tensor = self.end(1.5 * h + self.gate(h))
        return out


class Gate(nn.Module):
    def forward(self, h: Tensor) -> Tensor:
        return (h > 0).float()


def check_alone(folder: Path, layers: list[str], methods: list[Any], **settings: Any) -> dict[str, np.ndarray]:
    """Check that each layer has the arrays of a job on this layer alone; return the arrays."""
    _, arrays = rank(program_of(Gated(), X[:2]), folder, {"x": X.numpy()}, layers, methods, **(NO_TESTS | settings))
    for layer in layers:
        _, alone = rank(program_of(Gated(), X[:2]), folder, {"x": X.numpy()}, layer, methods, **(NO_TESTS | settings))
        for name in alone:
            if name.startswith(("importance/", "ablation/", "examples/")):
                np.testing.assert_allclose(arrays[f"{layer}/{name}"], alone[name], rtol=1e-5, atol=1e-6, err_msg=f"{layer} {name}")
    return arrays


def test_layers_when_they_have_one_value_then_each_has_its_own_random_streams(tmp_path: Path) -> None:
    methods = ["random", {"name": "gradient", "noise": {"samples": 3}}, {"name": "shapley", "permutations": 4}]

    arrays = check_alone(tmp_path, ["block", "block.1"], methods)

    assert not np.array_equal(arrays["block/importance/random"], arrays["block.1/importance/random"])


@pytest.mark.parametrize("methods", [["gradient", {"name": "conductance", "steps": 4, "spacing": "uniform"}], ["deeplift"]])
def test_layers_when_one_is_behind_a_comparison_then_equal_to_jobs_on_one_layer(methods: list[Any], tmp_path: Path) -> None:
    check_alone(tmp_path, ["block", "gate"], methods)


@pytest.mark.parametrize("fill", ["mean", "baseline", "resample"])
def test_layers_when_values_are_filled_then_equal_to_jobs_on_one_layer(fill: str, tmp_path: Path) -> None:
    methods = [{"name": name, "fill": fill} for name in ("exact_ablation", "taylor")]

    check_alone(tmp_path, ["block", "gate"], methods, ablation=ABLATION | {"fill": fill, "check_fill": None})


def test_layers_when_their_weights_are_permuted_then_equal_to_jobs_on_one_layer(tmp_path: Path) -> None:
    program, sanity = program_of(Gated(), X[:2]), ABLATION | {"sanity": "permute_tail"}
    settings = NO_TESTS | {"ablation": sanity}

    summary, _ = rank(program, tmp_path, {"x": X.numpy()}, ["block", "gate"], ["gradient_x_activation"], joint=True, **settings)

    for layer in ("block", "gate"):
        alone, _ = rank(program, tmp_path, {"x": X.numpy()}, layer, ["gradient_x_activation"], **settings)
        matters = [each["rankings"][0]["weights_matter"] for each in (summary["layers"][layer], alone)]
        assert matters[0] == pytest.approx(matters[1])


class Narrow(nn.Module):
    """Two layers of 16 bits each. Values of the first are too large for the second's type."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.wide, self.narrow, self.end = Cast(torch.bfloat16, 1e5), Cast(torch.float16, 1.0), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = self.wide(torch.tanh(x)).float() / 1e5
        out: Tensor = self.end(h + self.narrow(torch.tanh(x)).float())
        return out


class Cast(nn.Module):
    def __init__(self, dtype: torch.dtype, factor: float) -> None:
        super().__init__()
        self.dtype, self.factor = dtype, factor

    def forward(self, h: Tensor) -> Tensor:
        return (self.factor * h).to(self.dtype)


def test_joint_when_types_differ_then_the_order_of_the_layers_changes_nothing(tmp_path: Path) -> None:
    program = program_of(Narrow(), X[:2])
    settings = NO_TESTS | {"ablation": ABLATION | {"fill": "mean", "check_fill": None}}
    curves = []
    for layers in (["wide", "narrow"], ["narrow", "wide"]):
        _, arrays = rank(program, tmp_path, {"x": X.numpy()}, layers, ["activation"], joint=True, **settings)
        curves.append(arrays["joint/ablation/activation/keep"])

    assert np.isfinite(curves[0]).all()
    np.testing.assert_allclose(curves[0][:, 0], curves[1][:, 0], rtol=1e-5)


def test_jobs_when_repeated_on_a_model_then_no_more_graphs_are_compiled(tmp_path: Path) -> None:
    program = program_of(Gated(), X[:2])

    def run() -> int:
        methods = ["shapley", "exact_ablation", "weight_norm"]
        rank(program, tmp_path, {"x": X.numpy()}, ["block", "end"], methods[:2], joint=True, **NO_TESTS | {"ablation": ABLATION})
        rank(program, tmp_path, {"x": X.numpy()}, "block", methods, **NO_TESTS)
        return len(graph_module._loader.eval_cache)

    run()

    assert run() == run()
