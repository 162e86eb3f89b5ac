"""Spacing `adaptive`: each example has points where F and h change."""

from math import log
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.engine.in_process import rank
from tests.engine.methods.path.bias_free import EPS, NETS, PATHS, adaptive_at, job, net, unresolved
from unitrank_engine.methods.path import adaptive


@pytest.mark.parametrize("name", ["conductance", pytest.param("integrated_gradients", marks=pytest.mark.check)])
def test_scores_when_an_embedding_is_normalised_then_are_the_closed_form(name: str, tmp_path: Path) -> None:
    module, _, x = net("normalised")

    summary, arrays = job("normalised", tmp_path, "fc", [adaptive_at(name, 400)])

    # Below EPS the gradient is c / EPS, above it is the derivative of the unit vector, whose
    # integral is a logarithm.
    with torch.no_grad():
        h, c = module.fc(torch.from_numpy(x)).double(), module.out.weight[0].double()
    norm = h.norm(dim=1, keepdim=True)
    linear = c * h / norm
    expected = linear + (norm / EPS).log() * (linear - h**2 * (h @ c)[:, None] / norm**3)
    scores = arrays[f"examples/{name}/all"]
    assert np.abs(scores - expected.numpy()).max() < 0.01 * expected.abs().max()
    assert summary["rankings"][0]["clusters"]["all"]["completeness"]["relative_gap"] < 1e-3
    assert not unresolved(summary)
    assert log(1 / EPS) > 27


@pytest.mark.check
@pytest.mark.parametrize(("name", "layer"), [(name, layer) for name, (_, _, layers) in NETS.items() for layer in layers])
def test_scores_when_steps_are_many_then_are_those_of_plain_float64_on_logarithmic_points(
    name: str, layer: str, tmp_path: Path
) -> None:
    module, _, x = net(name)
    plain = module.double()
    try:
        expected = np.stack([_plain(plain, layer, torch.from_numpy(row)[None].double()) for row in x])
    finally:
        module.float()

    _, arrays = job(name, tmp_path, layer, [adaptive_at("conductance", 1000)])

    scores = arrays["examples/conductance/all"].reshape(expected.shape)
    assert np.abs(scores - expected).max() < 0.01 * np.abs(expected).max()


def _plain(module: nn.Module, layer: str, x: Tensor, points: int = 100_000) -> np.ndarray:
    """Σ ∂F/∂h · Δh from zeros to x, on points with equal ratios from 1e-16 to 1."""
    alphas = torch.cat([torch.zeros(1), torch.logspace(-16, 0, points, dtype=torch.float64)])
    held: list[Tensor] = []

    def hold(module: nn.Module, inputs: Any, output: Tensor) -> Tensor:
        held.append(output.detach().requires_grad_())
        return held[-1]

    inputs = (alphas.reshape(-1, *[1] * (x.dim() - 1)) * x).requires_grad_()
    hook = None if layer == "input" else module.get_submodule(layer).register_forward_hook(hold)
    output = module(inputs)[:, 0]
    if hook:
        hook.remove()
    h = held[0] if held else inputs
    (gradient,) = torch.autograd.grad(output.sum(), h)
    h = h.detach()
    return ((gradient[1:] + gradient[:-1]) / 2 * (h[1:] - h[:-1])).sum(0).numpy()


@pytest.mark.parametrize(
    ("name", "layer", "rows"),
    [
        ("normalised", "fc", 4),
        *(
            pytest.param(*place, rows, marks=pytest.mark.check)
            for place in [("normalised", "fc"), ("towers", "left"), ("rms", "input")]
            for rows in (1, 4)
        ),
    ],
)
def test_scores_when_an_example_is_alone_then_are_those_in_company(
    name: str, layer: str, rows: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit_rows: Any
) -> None:
    methods = [adaptive_at(each, 20) for each in PATHS]
    _, together = job(name, tmp_path, layer, methods)
    monkeypatch.setattr(adaptive, "KEPT_BYTES", 0)
    limit_rows(rows)

    _, apart = job(name, tmp_path, layer, methods)

    for each in PATHS:
        expected = together[f"examples/{each}/all"]
        assert np.abs(apart[f"examples/{each}/all"] - expected).max() <= 2e-5 * np.abs(expected).max()


@pytest.mark.parametrize("baseline", ["end", "both"])
def test_gap_when_all_change_is_next_to_x_then_is_small(baseline: str, tmp_path: Path) -> None:
    _, program, x = net("normalised")
    fields = {"x": np.zeros_like(x) if baseline == "end" else -x * 1e-20, "x0": x}
    request: dict[str, Any] = {"ablation": None, "fidelity": None, "target": {"class": 0}}

    summary, _ = rank(
        program, tmp_path, fields, "fc", [adaptive_at("conductance", 30)], baseline={"kind": "field", "field": "x0"}, **request
    )

    assert summary["rankings"][0]["clusters"]["all"]["completeness"]["relative_gap"] < 0.01


def test_tolerance_when_the_spacing_is_adaptive_then_each_example_meets_it(tmp_path: Path) -> None:
    members = {"by": "members", "members": {str(row): [row] for row in range(6)}}

    summary, _ = job("rms", tmp_path, "input", [adaptive_at("conductance", 10, tolerance=0.01)], clusters=members)

    (ranking,) = summary["rankings"]
    gaps = [cluster["completeness"]["relative_gap"] for cluster in ranking["clusters"].values()]
    assert max(gaps) <= 0.01 + 1e-5
    assert ranking["options"]["steps"] > 10


def test_tolerance_when_memory_has_no_room_for_more_points_then_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adaptive, "MOST_POINT_BYTES", 0)

    summary, _ = job("rms", tmp_path, "input", [adaptive_at("conductance", 10, tolerance=1e-5)])

    assert [warning["ranking"] for warning in summary["warnings"] if warning["code"] == "tolerance_not_reached"] == ["conductance"]
    assert summary["rankings"][0]["options"]["steps"] == 10
