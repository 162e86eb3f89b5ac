"""Exact ablation equals one pass of the tail for every unit, and the eager net."""

from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.fx.graph_module import _loader

from tests.engine import oracle
from tests.engine.in_process import program_of, rank
from tests.engine.nets import every_place, net_of, program
from unitrank_engine.job.units import PlaceUnits
from unitrank_engine.program.linearity.columns import affine_part

COUNT = 3
BASELINE = 0.3
ROUNDING = 1e-6
"""A score is the difference of two outputs near 1 in float32."""


def job(name: str, folder: Path, layer: str, methods: list[Any], **request: Any) -> dict[str, np.ndarray]:
    settings: dict[str, Any] = {"ablation": None, "fidelity": None, "keep_examples": COUNT, "target": {"class": 1}}
    settings["baseline"] = {"kind": "constant", "value": BASELINE}
    x = net_of(name).examples(COUNT).numpy()
    return rank(program(name), folder, {"x": x}, layer, methods, **(settings | request))[1]


@pytest.mark.parametrize("units", ["neuron", "channel"])
@pytest.mark.parametrize(("name", "layer", "at"), every_place())
def test_losses_equal_the_losses_of_one_pass_for_each_unit(name: str, layer: str, at: str, units: Any, tmp_path: Path) -> None:
    net, net_program = net_of(name), program(name)
    eager = oracle.Eager(net.module, net.taps[layer, at])
    kinds = PlaceUnits(units, net_program.place(layer, at))

    arrays = job(name, tmp_path, layer, ["exact_ablation"], at=at, units=units)

    got = arrays["examples/exact_ablation/all"].reshape(COUNT, -1)
    want = np.stack([_plain(eager, kinds, row.double()[None]) for row in net.examples(COUNT)])
    assert np.abs(got - want).max() <= 1e-5 * np.abs(want).max() + ROUNDING


def _plain(eager: oracle.Eager, units: PlaceUnits, x: torch.Tensor) -> np.ndarray:
    with torch.no_grad():
        (h, output), (start, _) = eager.run(x), eager.run(torch.full_like(x, BASELINE))
        losses = []
        for unit in range(units.count):
            mask = torch.zeros(1, units.count, dtype=torch.bool)
            mask[0, unit] = True
            chosen = units.spread(mask).movedim(0, units.place.batch_axis)
            losses.append(float(output[0, 1] - eager.run(x, instead=torch.where(chosen, start, h))[1][0, 1]))
    return np.array(losses)


@pytest.mark.parametrize(
    ("name", "layer", "end"),
    [
        ("shared", "act@1", "linear_2"),
        ("convolutional", "features.3", "conv2d_1"),
        ("convolutional", "features.5", "linear"),
        ("residual", "blocks.0.fc2", "add"),
        ("functional", "fc1", None),
        ("transformer", "encoder.linear1", None),
    ],
)
def test_affine_part_when_a_linear_layer_follows_then_ends_behind_it(name: str, layer: str, end: str | None) -> None:
    net_program = program(name)

    part = affine_part(net_program, net_program.place(layer, "output"), next(iter(net_program.outputs)))

    assert (part is None) == (end is None)
    if part is not None and end is not None:
        assert part[1].place.node.name.startswith(end)


@pytest.mark.parametrize("fill", ["baseline", "zero", "mean", "resample"])
@pytest.mark.parametrize("layer", ["features.3", "features.4"])
def test_losses_when_columns_are_used_then_equal_the_masked_ones(
    fill: str, layer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    method = {"name": "exact_ablation", "fill": fill, "id": "exact"}
    by_columns = job("convolutional", tmp_path, layer, [method])

    monkeypatch.setattr("unitrank_engine.methods.exact_ablation.replacing.affine_part", lambda *arguments: None)
    masked = job("convolutional", tmp_path, layer, [method])

    want = masked["examples/exact/all"]
    np.testing.assert_allclose(by_columns["examples/exact/all"], want, rtol=1e-5, atol=1e-6 * np.abs(want).max())


def test_losses_when_the_columns_do_not_fit_then_are_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = job("convolutional", tmp_path, "features.3", ["exact_ablation"])

    monkeypatch.setattr("unitrank_engine.methods.exact_ablation.replacing.COLUMN_BYTES", 0)
    anew = job("convolutional", tmp_path, "features.3", ["exact_ablation"])

    np.testing.assert_allclose(anew["importance/exact_ablation"], kept["importance/exact_ablation"], rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("score", ["logit", "centered", "margin", "probability", "log_probability"])
def test_losses_behind_the_last_nonlinearity_equal_the_delta_methods(score: str, tmp_path: Path) -> None:
    methods = ["exact_ablation", "gradient_x_delta"]
    arrays = job("functional", tmp_path, "fc3", methods, at="input", target={"class": 1, "score": score})

    linear = score in ("logit", "centered", "margin")
    same = np.allclose(arrays["examples/exact_ablation/all"], arrays["examples/gradient_x_delta/all"], rtol=1e-4, atol=1e-6)
    assert same == linear


def test_losses_when_a_unit_has_the_value_that_replaces_it_then_are_exactly_zero(tmp_path: Path) -> None:
    arrays = job("in_place", tmp_path, "relu1", [{"name": "exact_ablation", "fill": "zero"}, "activation"])

    silent = arrays["examples/activation/all"] == 0
    assert silent.any()
    assert (arrays["examples/exact_ablation/all"][silent] == 0).all()


@pytest.mark.parametrize(
    ("name", "layer"), [("convolutional", "features.3"), ("transformer", "encoder.linear1"), ("attentive", "norm")]
)
def test_losses_do_not_depend_on_batch_mates(name: str, layer: str, tmp_path: Path, limit_rows: Any) -> None:
    together = job(name, tmp_path, layer, ["exact_ablation"])["examples/exact_ablation/all"]

    limit_rows(1)
    alone = job(name, tmp_path, layer, ["exact_ablation"])["examples/exact_ablation/all"]

    np.testing.assert_allclose(alone, together, rtol=1e-5, atol=ROUNDING)


class Counted(nn.Module):
    """Rounds to whole numbers, or to 0 and 1, between two layers."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.fc1, self.fc2, self.dtype = nn.Linear(4, 6), nn.Linear(6, 2), dtype

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2((self.fc1(x) * 3).to(self.dtype) * torch.ones(6))


@pytest.mark.parametrize("dtype", [torch.int32, torch.bool])
def test_losses_when_values_are_cast_to_integers_then_the_cast_is_not_treated_as_linear(dtype: torch.dtype, tmp_path: Path) -> None:
    torch.manual_seed(0)
    module, x = Counted(dtype).eval(), torch.randn(5, 4)
    settings: dict[str, Any] = {"target": {"class": 1}, "ablation": None, "fidelity": None, "keep_examples": 5}

    summary, arrays = rank(program_of(module, x), tmp_path, {"x": x.numpy()}, "fc1", [METHOD_ZERO], **settings)

    with torch.no_grad():
        h = module.fc1(x)
        f = module.fc2((h * 3).to(dtype) * torch.ones(6))[:, 1]
        without = [module.fc2((h * (torch.arange(6) != unit) * 3).to(dtype) * torch.ones(6))[:, 1] for unit in range(6)]
    want = f[:, None] - torch.stack(without, 1)
    np.testing.assert_allclose(arrays["examples/exact_ablation/all"], want, atol=1e-6)
    assert "last_hidden_layer" not in {warning["code"] for warning in summary["warnings"]}


METHOD_ZERO = {"name": "exact_ablation", "fill": "zero"}


def test_losses_when_a_large_bias_is_added_then_keep_their_digits(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 300), nn.ReLU(), nn.Linear(300, 1)).double()
    with torch.no_grad():
        net[2].bias.fill_(3000.0)
        net[4].weight.mul_(0.1)
    x = torch.randn(6, 4, dtype=torch.float64)
    settings: dict[str, Any] = {"target": {"class": None}, "ablation": None, "fidelity": None, "keep_examples": 6}
    with torch.no_grad():
        h = net[1](net[0](x))
        whole = net[2:](h)[:, 0]
        want = whole[:, None] - torch.stack([net[2:](h * (torch.arange(8) != unit))[:, 0] for unit in range(8)], 1)

    _, arrays = rank(program_of(deepcopy(net).float(), x.float()), tmp_path, {"x": x.numpy()}, "1", [METHOD_ZERO], **settings)

    # One part in 10⁷ of 3000, summed over 300 values of weight 0.005.
    assert np.abs(arrays["examples/exact_ablation/all"] - want.numpy()).max() <= 2e-3


def test_jobs_when_they_are_repeated_then_leave_no_code_behind(tmp_path: Path) -> None:
    net_program = program("convolutional")
    fields = {"x": net_of("convolutional").examples(4).numpy()}
    settings: dict[str, Any] = {"clusters": {"by": "kmeans", "k": 2, "layer": "head"}, "target": {"class": 1}}

    def run() -> int:
        rank(net_program, tmp_path, fields, "features.3", ["exact_ablation", "conductance", "deeplift"], **settings)
        return len(_loader.eval_cache)

    first = run()

    assert [run(), run()] == [first, first]


class Mixed(nn.Module):
    """Computes in half precision between layers of float32."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.low, self.fc2 = nn.Linear(4, 6), nn.Linear(6, 5).half(), nn.Linear(5, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(torch.relu(self.low(self.fc1(x).half())).float())


def test_losses_when_half_precision_follows_then_the_tail_is_run_and_they_are_finite(tmp_path: Path) -> None:
    torch.manual_seed(0)
    module, x = Mixed().eval(), torch.randn(5, 4)
    settings: dict[str, Any] = {"target": {"class": 1}, "ablation": None, "fidelity": None, "keep_examples": 5}

    _, arrays = rank(program_of(module, x), tmp_path, {"x": x.numpy()}, "fc1", [METHOD_ZERO], **settings)

    with torch.no_grad():
        h = module.fc1(x)
        tail = [
            module.fc2(torch.relu(module.low((h * mask).half())).float())[:, 1] for mask in [torch.ones(6), *(1 - torch.eye(6))]
        ]
    np.testing.assert_allclose(arrays["examples/exact_ablation/all"], tail[0][:, None] - torch.stack(tail[1:], 1), atol=2e-3)
