"""Complete methods sum to F(x) − F(x′) at every cut, more closely with more steps.

Elsewhere no gap is given.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.engine import oracle
from tests.engine.in_process import rank
from tests.engine.nets import MAKERS, net_of, program

FEW, MANY = 4, 256
SMOOTH = {"transformer", "attentive"}
"""Without kinks, the trapezoid's error falls with the square of the steps.

With a ReLU, with the steps.
"""


def _cuts() -> list[tuple[str, str, str]]:
    return [(name, *key) for name in MAKERS for key in net_of(name).taps if key not in net_of(name).bypassed]


def _bypassed() -> list[tuple[str, str, str]]:
    return [(name, *key) for name in MAKERS for key in sorted(net_of(name).bypassed)]


@pytest.mark.parametrize(("name", "layer", "at"), _cuts())
def test_conductance_at_every_cut_is_complete_and_more_so_with_steps(name: str, layer: str, at: str, tmp_path: Path) -> None:
    methods = [{"name": "conductance", "steps": steps, "spacing": "cubic", "id": f"c{steps}"} for steps in (FEW, MANY)]

    summary, arrays = _job(name, tmp_path, layer, methods, at=at)

    few, many = (ranking["clusters"]["all"]["completeness"] for ranking in summary["rankings"])
    assert summary["layer"]["cut"]
    assert many["relative_gap"] < (1e-4 if name in SMOOTH else 1e-2)
    assert many["relative_gap"] <= few["relative_gap"] / 20 + 2e-6
    assert many["sum"] == pytest.approx(many["expected"], rel=1e-2, abs=1e-3)
    assert many["sum"] == pytest.approx(float(arrays[f"importance/c{MANY}"].sum()), rel=1e-4, abs=1e-5)


@pytest.mark.parametrize(("name", "layer", "at"), _bypassed())
def test_no_gap_is_reported_where_a_path_leads_around_the_place(name: str, layer: str, at: str, tmp_path: Path) -> None:
    summary, _ = _job(name, tmp_path, layer, ["conductance"], at=at)

    assert not summary["layer"]["cut"]
    assert summary["rankings"][0]["clusters"]["all"]["completeness"]["relative_gap"] is None


@pytest.mark.parametrize(
    "method", ["activation", "gradient", "gradient_x_activation", "gradient_x_delta", "internal_influence", "random"]
)
def test_no_gap_is_claimed_for_methods_that_promise_none(method: str, tmp_path: Path) -> None:
    summary, _ = _job("functional", tmp_path, "fc1", [method])

    completeness = summary["rankings"][0]["clusters"]["all"]["completeness"]
    assert completeness["relative_gap"] is None
    assert np.isfinite(completeness["sum"])


def test_no_gap_is_claimed_where_the_output_hardly_changes(tmp_path: Path) -> None:
    summary, _ = _job("functional", tmp_path, "fc1", ["conductance"], count=1, baseline={"kind": "example", "index": 0})

    completeness = summary["rankings"][0]["clusters"]["all"]["completeness"]
    assert completeness["relative_gap"] is None
    assert completeness["expected"] == 0.0


def test_completeness_is_of_the_signed_scores_whatever_the_statistic(tmp_path: Path) -> None:
    methods = [{"name": "conductance", "statistic": statistic} for statistic in ("mean", "mean_abs", "rms")]

    summary, _ = _job("functional", tmp_path, "fc1", methods)

    gaps = [ranking["clusters"]["all"]["completeness"] for ranking in summary["rankings"]]
    assert gaps[0] == gaps[1] == gaps[2]


@pytest.mark.parametrize("name", MAKERS)
def test_conductance_at_the_input_equals_integrated_gradients(name: str, tmp_path: Path) -> None:
    net, steps = net_of(name), 6
    method = {"name": "conductance", "steps": steps, "rule": "trapezoid", "spacing": "uniform"}

    _, arrays = _job(name, tmp_path, "input", [method], target={"class": 1}, keep_examples=2, count=2)

    def score(output: Tensor) -> Tensor:
        return output[0, 1]

    for row, got in zip(net.examples(2).double(), arrays["examples/conductance/all"], strict=True):
        want = oracle.integrated_gradients(net.module, score, row[None], torch.zeros_like(row[None]), steps)[0].numpy()
        assert np.abs(got - want).max() <= 1e-5 * np.abs(want).max()


def _job(
    name: str, folder: Path, layer: str, methods: list[Any], count: int = 5, **request: Any
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    fields = {"x": net_of(name).examples(count).numpy()}
    return rank(program(name), folder, fields, layer, methods, **({"ablation": None, "fidelity": None} | request))
