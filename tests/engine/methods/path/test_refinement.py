"""Steps are doubled until an example's scores meet the tolerance."""

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tests.engine.in_process import program_of, rank
from unitrank_engine.methods.path import refinement
from unitrank_engine.program import Program

COUNT, TOLERANCE, FIRST = 9, 3e-4, 2
X = np.random.default_rng(0).normal(size=(COUNT, 3)) * np.geomspace(0.1, 8, COUNT)[:, None]


@cache
def program() -> Program:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 5), nn.Tanh(), nn.Linear(5, 2)).double()
    return program_of(net, torch.ones(2, 3, dtype=torch.float64))


def scores(folder: Path, x: np.ndarray, name: str, **options: Any) -> tuple[np.ndarray, dict[str, Any], dict[str, Any]]:
    """The scores of each example, the ranking, and the job's cost."""
    method = {"name": name, "steps": FIRST, "spacing": "uniform", **options}
    request: dict[str, Any] = {"ablation": None, "fidelity": None, "target": {"class": 1}, "keep_examples": COUNT}
    summary, arrays = rank(program(), folder, {"x": x}, "1", [method], **request)
    return arrays[f"examples/{name}/all"], summary["rankings"][0], summary["cost"]


@cache
def with_steps(name: str, row: int, steps: int) -> tuple[np.ndarray, float]:
    """The scores of one example with a fixed number of steps, and the gap of completeness."""
    with TemporaryDirectory() as folder:
        values, ranking, _ = scores(Path(folder), X[row : row + 1], name, steps=steps)
    gap: float = ranking["clusters"]["all"]["completeness"]["relative_gap"] if name != "internal_influence" else np.nan
    return values[0], gap


@pytest.mark.parametrize("name", ["conductance", "integrated_gradients", "internal_influence"])
@pytest.mark.parametrize("kept", [0, 2000, 2**30])
def test_tolerance_when_it_is_met_then_each_example_has_the_fewest_doublings_that_meet_it(
    name: str, kept: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refinement, "KEPT_BYTES", kept)
    summary, ranking, _ = scores(tmp_path, X, name, tolerance=TOLERANCE)
    complete = "conductance" if name == "internal_influence" else name
    most = 0
    for row in range(COUNT):
        steps = FIRST
        while with_steps(complete, row, steps)[1] > TOLERANCE:
            steps *= 2
        most = max(most, steps)
        np.testing.assert_allclose(summary[row], with_steps(name, row, steps)[0], rtol=1e-5, atol=1e-7)

    assert ranking["options"] == {"steps": most}
    assert most > 4 * FIRST


def test_tolerance_when_points_are_kept_then_none_is_computed_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    single = X[-1:]
    _, ranking, with_points = scores(tmp_path, single, "conductance", tolerance=TOLERANCE)
    steps = ranking["options"]["steps"]
    _, _, at_once = scores(tmp_path, single, "conductance", tolerance=TOLERANCE, steps=steps)
    monkeypatch.setattr(refinement, "KEPT_BYTES", 0)
    _, _, without = scores(tmp_path, single, "conductance", tolerance=TOLERANCE)

    assert with_points["forward_rows"] == at_once["forward_rows"]
    doublings = int(np.log2(steps / FIRST))
    assert without["forward_rows"] - at_once["forward_rows"] == sum(FIRST * 2**power + 1 for power in range(doublings))
