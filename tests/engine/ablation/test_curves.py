"""Ablation curves: which masks run, and independence of the other masks in a pass."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.engine.ablation.nets import Weighted
from tests.engine.in_process import program_of, rank
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

    assert many[0]["cost"]["forward_rows"] == few[0]["cost"]["forward_rows"] <= 7 * (16 + 10)
    assert few[1]["ablation/random"].shape == (1, 200, 6)
