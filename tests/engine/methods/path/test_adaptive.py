"""Spacing `adaptive`: each example has points where F and h change."""

from functools import cache
from math import log
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize, silu

from tests.engine.in_process import program_of, rank
from tests.engine.nets import net_of
from tests.engine.nets import program as program_of_net
from tests.engine.reuse.test_reuse import Memory
from unitrank_engine.methods.path import adaptive
from unitrank_engine.program import Program

EPS = 1e-12
"""The smallest norm that `normalize` divides by."""
PATHS = ["conductance", "integrated_gradients", "internal_influence"]


class Normalised(nn.Module):
    """F = c · h / |h| of h = W x; all of F's change happens while |h| is below EPS."""

    def __init__(self) -> None:
        super().__init__()
        self.fc, self.out = nn.Linear(5, 6, bias=False), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.out(normalize(self.fc(x), dim=-1))
        return out


class Towers(nn.Module):
    """The cosine of two towers without biases."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = (
            nn.Sequential(nn.Linear(4, 8, bias=False), nn.ReLU(), nn.Linear(8, 6, bias=False)) for _ in range(2)
        )

    def forward(self, x: Tensor) -> Tensor:
        left, right = self.left(x[:, :4]), self.right(x[:, 4:])
        return (normalize(left, dim=-1) * normalize(right, dim=-1)).sum(-1, keepdim=True)


class RootMeanSquare(nn.Module):
    """A block of a language model: RMSNorm and a gated layer around a residual, without biases."""

    def __init__(self) -> None:
        super().__init__()
        self.up, self.gate = nn.Linear(8, 16, bias=False), nn.Linear(8, 16, bias=False)
        self.down, self.out = nn.Linear(16, 8, bias=False), nn.Linear(8, 3, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.norm(x)
        x = x + self.down(silu(self.gate(hidden)) * self.up(hidden))
        out: Tensor = self.out(self.norm(x).mean(1))
        return out

    def norm(self, x: Tensor) -> Tensor:
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6)


NETS: dict[str, tuple[type[nn.Module], tuple[int, ...], list[str]]] = {
    "normalised": (Normalised, (5,), ["fc", "input"]),
    "towers": (Towers, (8,), ["input", "left"]),
    "rms": (RootMeanSquare, (3, 8), ["input"]),
}


@cache
def net(name: str) -> tuple[nn.Module, Program, np.ndarray]:
    kind, shape, _ = NETS[name]
    torch.manual_seed(0)
    module = kind().eval()
    x = np.random.default_rng(0).normal(size=(6, *shape)).astype(np.float32)
    return module, program_of(module, torch.ones(2, *shape)), x


def job(name: str, folder: Path, layer: str, methods: list[Any], **request: Any) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    _, program, x = net(name)
    settings: dict[str, Any] = {"ablation": None, "fidelity": None, "target": {"class": 0}, "keep_examples": len(x)}
    if name == "towers":
        settings["target"] = {"class": None}
    return rank(program, folder, {"x": request.pop("x", x)}, layer, methods, **(settings | request))


def adaptive_at(name: str, steps: int, **options: Any) -> dict[str, Any]:
    return {"name": name, "spacing": "adaptive", "steps": steps, **options}


def unresolved(summary: dict[str, Any]) -> list[str]:
    return [warning["ranking"] for warning in summary["warnings"] if warning["code"] == "path_not_resolved"]


@pytest.mark.parametrize("name", ["conductance", "integrated_gradients"])
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


def test_path_not_resolved_when_only_single_units_are_wrong_then_is_given(tmp_path: Path) -> None:
    summary, arrays = job("normalised", tmp_path, "fc", [adaptive_at("conductance", steps, id=str(steps)) for steps in (30, 400)])

    # Along the ray of h, F does not change: what units get there cancels in the sum.
    few, many = arrays["examples/30/all"], arrays["examples/400/all"]
    assert np.abs(few - many).max() > 0.1 * np.abs(many).max()
    assert [ranking["clusters"]["all"]["completeness"]["relative_gap"] < 0.05 for ranking in summary["rankings"]] == [True, True]
    assert unresolved(summary) == ["30"]


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


@pytest.mark.parametrize("name", NETS)
def test_spacing_when_left_open_and_the_default_misses_the_change_then_the_gap_is_small_or_there_is_a_warning(
    name: str, tmp_path: Path
) -> None:
    for layer in NETS[name][2]:
        summary, _ = job(name, tmp_path, layer, PATHS)

        for ranking in summary["rankings"]:
            gap = ranking["clusters"]["all"]["completeness"]["relative_gap"]
            assert ranking["method"]["spacing"] == "adaptive"
            assert ranking["id"] in unresolved(summary) or gap is None or gap < 0.01


@pytest.mark.parametrize(("name", "layer"), [("normalised", "fc"), ("towers", "input"), ("towers", "left"), ("rms", "input")])
def test_path_not_resolved_when_the_spacing_misses_the_change_then_names_every_path_method(
    name: str, layer: str, tmp_path: Path
) -> None:
    methods = [{"name": each, "spacing": "cubic", "rule": rule, "id": f"{each}-{rule}"} for each in PATHS for rule in RULES]

    summary, _ = job(name, tmp_path, layer, methods)

    assert sorted(unresolved(summary)) == sorted(method["id"] for method in methods)
    assert [ranking["method"]["spacing"] for ranking in summary["rankings"]] == ["cubic"] * len(methods)


RULES = ["left", "right", "trapezoid"]


@pytest.mark.parametrize(
    ("name", "layer"), [("residual", "blocks.0"), ("residual", "stem"), ("transformer", "embed"), ("attentive", "norm")]
)
def test_path_not_resolved_when_the_default_suffices_then_is_not_given_and_its_numbers_stay(
    name: str, layer: str, tmp_path: Path
) -> None:
    x, cubic = net_of(name).examples(5).numpy(), [{"name": each, "spacing": "cubic"} for each in PATHS]
    request: dict[str, Any] = {"ablation": None, "fidelity": None, "keep_examples": 5}

    summary, arrays = rank(program_of_net(name), tmp_path, {"x": x}, layer, PATHS, **request)
    _, named = rank(program_of_net(name), tmp_path, {"x": x}, layer, cubic, **request)

    assert not unresolved(summary)
    for key, values in named.items():
        np.testing.assert_array_equal(arrays[key], values)


@pytest.mark.parametrize(("name", "layer"), [("normalised", "fc"), ("towers", "left"), ("rms", "input")])
@pytest.mark.parametrize("rows", [1, 4])
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


def test_spacing_when_it_was_replaced_then_a_later_job_reuses_its_scores(tmp_path: Path) -> None:
    parts = Memory()
    first, arrays = job("normalised", tmp_path, "fc", ["gradient", "conductance"], parts=parts)

    again, reused = job("normalised", tmp_path, "fc", ["gradient", "conductance"], parts=parts)
    named, _ = job("normalised", tmp_path, "fc", [adaptive_at("conductance", 20)], parts=parts)

    assert again["rankings"][1]["method"] == first["rankings"][1]["method"]
    assert again["cost"]["reused"] == ["gradient", "conductance"]
    assert again["cost"]["forward_rows"] == 0
    assert named["cost"]["reused"] == ["conductance"]
    for name, values in arrays.items():
        np.testing.assert_array_equal(reused[name], values)


def test_spacing_when_an_earlier_job_named_the_default_then_an_open_one_is_still_replaced(tmp_path: Path) -> None:
    parts = Memory()
    job("normalised", tmp_path, "fc", [{"name": "conductance", "spacing": "cubic"}], parts=parts)

    summary, arrays = job("normalised", tmp_path, "fc", ["conductance"], parts=parts)
    _, expected = job("normalised", tmp_path, "fc", ["conductance"])

    assert summary["rankings"][0]["method"]["spacing"] == "adaptive"
    np.testing.assert_array_equal(arrays["importance/conductance"], expected["importance/conductance"])


@pytest.mark.parametrize("late", [False, True])
def test_spacing_when_left_open_then_the_first_64_rows_decide(late: bool, tmp_path: Path) -> None:
    _, program, x = net("normalised")
    same = np.tile(x[:1], (70, 1))
    fields = {"x": same, "x0": same * 0.999}
    fields["x0"][64 if late else 0 :] = 0.0
    request: dict[str, Any] = {
        "ablation": None,
        "fidelity": None,
        "target": {"class": 0},
        "baseline": {"kind": "field", "field": "x0"},
    }

    summary, _ = rank(program, tmp_path, fields, "fc", ["conductance"], **request)

    assert summary["rankings"][0]["method"]["spacing"] == ("uniform" if late else "adaptive")
    assert unresolved(summary) == ["conductance"] or not late
