"""Ablation curves: which masks run, and independence of the other masks in a pass."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.engine.ablation.nets import Conv, Weighted
from tests.engine.ablation.plain import prepared
from tests.engine.in_process import program_of, rank
from unitrank_engine.ablation.masks.mask_runner import ClusterTest, MaskRunner, ScoredTarget
from unitrank_engine.errors import EngineError


class Inverse(nn.Module):
    """F = 1 / Σh: infinite with all units replaced by zero."""

    def __init__(self) -> None:
        super().__init__()
        self.act = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return 1 / self.act(x).sum(1, keepdim=True)


class Normed(nn.Module):
    """The output also depends on a value of each example that does not pass through the units."""

    def __init__(self) -> None:
        super().__init__()
        self.act, self.out = nn.ReLU(), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.out(self.act(x)) / (1 + x.abs().sum(1, keepdim=True))
        return out


class Wide(nn.Module):
    """Has enough units that masks of one order can share their work."""

    def __init__(self) -> None:
        super().__init__()
        self.act, self.hidden, self.out = nn.ReLU(), nn.Linear(300, 40), nn.Linear(40, 3)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.out(self.hidden(self.act(x)).relu())
        return out


def study(program: Any, folder: Path, x: np.ndarray, **ablation: Any) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    options = {"split": "none", "check_fill": None, "random": 5, **ablation}
    return rank(program, folder, {"x": x}, "act", ["gradient_x_activation"], ablation=options, fidelity=None, target={"class": 0})


def test_curve_when_the_target_becomes_infinite_then_the_job_says_so(tmp_path: Path) -> None:
    program = program_of(Inverse(), torch.ones(2, 4))
    request: dict[str, Any] = {"baseline": {"kind": "constant", "value": 1.0}, "fidelity": None, "target": {"class": None}}
    ablation = {"fill": "zero", "check_fill": None, "random": 1}
    with pytest.raises(EngineError, match="choose another fill") as caught:
        rank(program, tmp_path, {"x": np.ones((3, 4), dtype=np.float32)}, "act", ["activation"], ablation=ablation, **request)

    assert caught.value.code == "non_finite"


def test_curve_when_only_the_fill_that_checks_makes_the_target_infinite_then_the_job_names_it(tmp_path: Path) -> None:
    program = program_of(Inverse(), torch.ones(2, 4))
    request: dict[str, Any] = {"baseline": {"kind": "constant", "value": 1.0}, "fidelity": None, "target": {"class": None}}
    ablation = {"fill": "baseline", "check_fill": "zero", "random": 19, "split": "none"}

    with pytest.raises(EngineError, match=r"with `check_fill: zero`, .*, or `check_fill: null`"):
        rank(program, tmp_path, {"x": np.full((3, 4), 2, dtype=np.float32)}, "act", ["activation"], ablation=ablation, **request)


@pytest.mark.parametrize("rows", [1, 5, 64])
def test_curve_when_passes_are_larger_or_smaller_then_it_is_the_same(
    rows: int, tmp_path: Path, limit_rows: Callable[[int], None]
) -> None:
    torch.manual_seed(0)
    program = program_of(Normed(), torch.ones(2, 6))
    x = np.random.default_rng(0).standard_normal((13, 6)).astype(np.float32)
    whole = study(program, tmp_path, x)
    limit_rows(rows)
    parts = study(program, tmp_path, x)

    assert parts[1].keys() == whole[1].keys()
    for name in whole[1]:
        np.testing.assert_allclose(parts[1][name], whole[1][name], rtol=1e-5, atol=1e-6)


def test_curve_when_choices_are_the_same_then_they_run_once(tmp_path: Path) -> None:
    # Two of six units are dead: counts 1 to 5 of 200 orders choose among four, in at most 16 ways.
    x = np.tile([1.0, 2.0, 3.0, 4.0, -1.0, -2.0], (7, 1))
    fractions = [count / 6 for count in range(1, 6)]
    program = program_of(Weighted([1.0] * 6), torch.ones(2, 6, dtype=torch.float64))
    few, many = (study(program, tmp_path, x, random=random, fractions=fractions) for random in (200, 400))

    # Units are replaced and kept. The ranking's three orders of five counts run anyway.
    assert many[0]["cost"]["forward_rows"] == few[0]["cost"]["forward_rows"] <= 7 * (2 * 16 + 15 + 10)
    assert few[1]["ablation/random"].shape == (1, 200, 6)


@pytest.mark.parametrize("nested", [False, True], ids=["one by one", "nested"])
@pytest.mark.parametrize("fill_rows", ["one", "each"])
@pytest.mark.parametrize("units", ["neuron", "channel"])
def test_kept_when_the_first_units_are_kept_then_it_equals_the_replacement_of_all_others(
    units: str, fill_rows: str, nested: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("unitrank_engine.ablation.masks.nested.MIN_ELEMENTS", 0 if nested else 10**9)
    rng = np.random.default_rng(0)
    torch.manual_seed(0)
    net, shape, counts = (Wide(), (300,), [3, 30, 150]) if units == "neuron" else (Conv().float(), (2, 3, 3), [1, 2, 3])
    x = torch.tensor(rng.standard_normal((11, *shape)), dtype=torch.float32)
    request: dict[str, Any] = {"layer": "act", "units": units, "target": {"class": 1}, "labels": "y", "ablation": {}}
    context = prepared(program_of(net, x[:2]), tmp_path, {"x": x.numpy(), "y": np.arange(11) % 3}, **request)
    context.meter.plan("ablation", 2 * 3 * 11, 1.0)
    runner, rows = MaskRunner(context, 1000, counts), np.arange(11)
    assert (runner.nested is not None) == nested
    inputs, labels = context.examples.inputs(rows), context.examples.labels(rows)
    h, live = context.split.head(inputs)
    fill = h.roll(1, 0) if fill_rows == "each" else h[:1] / 2
    with torch.no_grad():
        output = context.split.tail(h, live)
        end = runner.nested.at(inputs) if runner.nested else None
        replaced_end = runner.nested.replaced(end, fill - h) if runner.nested and end else None
    target, right = ScoredTarget(context, context.fix(output, rows)), context.right(output, labels)
    tests = ClusterTest(h, live, [target], labels, right=right, fill=fill, affine_end=end, replaced_end=replaced_end)
    n = context.units.count
    positions = rng.permutation(n).astype(np.int32)[None]

    (kept,) = runner.run(tests.kept(), positions, [(0, count) for count in counts], bounds=[], single=3)
    (replaced,) = runner.run(tests, n - 1 - positions, [(0, n - count) for count in counts], bounds=[], single=3)

    assert kept.values is not None
    if nested:
        np.testing.assert_allclose(kept.score, replaced.score, rtol=1e-5)
        np.testing.assert_allclose(kept.values, replaced.values, rtol=1e-5, atol=1e-5)
    else:
        assert np.array_equal(kept.score, replaced.score)
        assert np.array_equal(kept.values, replaced.values)
    assert kept.right is not None
    assert kept.right.tolist() == replaced.right.tolist()
    assert len(np.unique(kept.values)) > 20


def test_keep_when_the_tail_is_linear_then_what_both_orders_lose_is_the_total_drop(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    program = program_of(Weighted(rng.standard_normal(30).tolist(), bias=0.7), torch.ones(2, 30, dtype=torch.float64))
    options = {"fill": "resample", "orders": ["most", "keep"]}
    summary, arrays = rank(
        program, tmp_path, {"x": rng.standard_normal((20, 30))}, "act", ["gradient_x_activation", "random"],
        ablation={"split": "half", "check_fill": None, "random": 5, **options}, fidelity=None, target={"class": None},
    )  # fmt: skip

    for ranking in summary["rankings"]:
        ablation = ranking["clusters"]["all"]["ablation"]
        most, keep = np.array(ablation["most"]["score"]), np.array(ablation["keep"]["score"])
        intact, all_replaced = (arrays[f"ablation/{ranking['id']}/{order}"][0, 0] for order in ("most", "keep"))
        np.testing.assert_allclose((intact - keep) + (intact - most), intact - all_replaced, rtol=1e-5)
        assert ablation["keep_area"] == pytest.approx(ablation["most"]["area"])
