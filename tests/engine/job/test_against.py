"""A target with `against` explains the difference of two classes' logits.

The oracles are the eager net in float64, and a net whose single output is the difference.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.engine import oracle
from tests.engine.in_process import program_of, rank
from tests.engine.nets import Tap
from unitrank_engine.errors import EngineError
from unitrank_engine.job.targets import fix, is_linear, score
from unitrank_engine.program import Program
from unitrank_schemas.jobs.targets import Target

N = 12
X = np.random.default_rng(0).normal(size=(N, 4)).astype(np.float32)
Y = np.arange(N) % 3
OTHER = (Y + np.arange(N) % 4) % 3
"""Class numbers to compare with; some are the label itself."""
PATH = {"name": "conductance", "steps": 4, "rule": "trapezoid", "spacing": "uniform"}
METHODS = [
    "gradient",
    "gradient_x_delta",
    PATH,
    {"name": "integrated_gradients", "steps": 6, "spacing": "uniform"},
    {"name": "deeplift", "rules": "rescale"},
    "exact_ablation",
]
NAMES = ["gradient", "gradient_x_delta", "conductance", "integrated_gradients", "deeplift", "exact_ablation"]
KEPT: dict[str, Any] = {"ablation": None, "fidelity": None, "keep_examples": N}


class Difference(nn.Module):
    """The logit of class `a` minus the logit of class `b`."""

    def __init__(self, a: int, b: int) -> None:
        super().__init__()
        self.a, self.b = a, b

    def forward(self, z: Tensor) -> Tensor:
        return z[:, self.a] - z[:, self.b]


def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 3))


@pytest.fixture(scope="module")
def program() -> Program:
    return program_of(net(), torch.randn(2, 4))


def plain(row: int, chosen: int, rival: int) -> dict[str, np.ndarray]:
    """The scores of one example at layer `1` by method, in float64."""
    eager = oracle.Eager(net(), Tap("1"))
    x = torch.from_numpy(X[row : row + 1]).double()
    score_of = lambda z: z[:, chosen] - z[:, rival]  # noqa: E731
    path = oracle.walk(eager, score_of, x, torch.zeros_like(x), oracle.nodes(4, "uniform"))
    (start, _), (h, gradient) = path[0], path[-1]
    whole = score_of(eager.run(x)[1].detach())
    lost = []
    for unit in range(6):
        instead = h.clone()
        instead[0, unit] = start[0, unit]
        lost.append((whole - score_of(eager.run(x, instead=instead)[1].detach())).item())
    scores = {
        "gradient": gradient,
        "gradient_x_delta": gradient * (h - start),
        "conductance": oracle.conductance(path, "trapezoid"),
        "exact_ablation": torch.tensor(lost),
    }
    return {name: value.detach().numpy().reshape(-1) for name, value in scores.items()}


@pytest.mark.parametrize("kind", ["logit", "log_probability"])
def test_scores_equal_the_eager_net_with_a_class_to_compare_with_for_each_example(
    kind: str, program: Program, tmp_path: Path
) -> None:
    fields = {"x": X, "y": Y, "other": OTHER}
    target = {"class": "label", "against": {"field": "other"}, "score": kind}

    _, arrays = rank(program, tmp_path, fields, "1", METHODS, target=target, **KEPT)

    expected = [plain(row, int(Y[row]), int(OTHER[row])) for row in range(N)]
    for name in expected[0]:
        want = np.stack([of_example[name] for of_example in expected])
        np.testing.assert_allclose(arrays[f"examples/{name}/all"], want, atol=1e-6 * np.abs(want).max(), rtol=1e-5, err_msg=name)
    assert not arrays["examples/deeplift/all"][Y == OTHER].any()


@pytest.mark.check
def test_every_method_and_the_tests_equal_those_of_the_difference_as_the_only_output(program: Program, tmp_path: Path) -> None:
    tests: dict[str, Any] = {"ablation": {"random": 19, "examples": 6}, "fidelity": {}, "keep_examples": N}
    single = program_of(nn.Sequential(*net(), Difference(2, 0)), torch.randn(2, 4))

    summary, arrays = rank(program, tmp_path, {"x": X}, "1", METHODS, target={"class": 2, "against": 0}, **tests)
    want, expected = rank(single, tmp_path, {"x": X}, "1", METHODS, target={"class": None}, **tests)

    for name, values in expected.items():
        np.testing.assert_allclose(arrays[name], values, rtol=1e-4, atol=1e-5 * np.abs(values).max(), err_msg=name)
    for mine, theirs in zip(summary["rankings"], want["rankings"], strict=True):
        assert mine["overall"]["verdict"] == theirs["overall"]["verdict"]
        assert mine["fidelity"]["mae"] == pytest.approx(theirs["fidelity"]["mae"], rel=1e-4, abs=1e-6)


def test_a_conversion_is_the_difference_of_two_classes_scores(program: Program, tmp_path: Path) -> None:
    """DeepLIFT converts digit a to digit b by the scores of a minus the scores of b (section 4)."""
    _, difference = rank(program, tmp_path, {"x": X}, "input", METHODS, target={"class": 2, "against": 1}, **KEPT)
    _, of_a = rank(program, tmp_path, {"x": X}, "input", METHODS, target={"class": 2}, **KEPT)
    _, of_b = rank(program, tmp_path, {"x": X}, "input", METHODS, target={"class": 1}, **KEPT)

    for name in NAMES:
        key = f"examples/{name}/all"
        np.testing.assert_allclose(difference[key], of_a[key] - of_b[key], rtol=1e-4, atol=1e-5, err_msg=name)


def test_probabilities_are_compared_by_their_logarithms() -> None:
    output = torch.tensor([[0.7, 0.2, 0.1]])
    values = []
    for kind in ("logit", "log_probability"):
        target = Target.model_validate({"class": 0, "against": 2, "score": kind, "output_is": "probabilities"})
        values.append(float(score(target, output, fix(target, output, None, torch.tensor([2])))))

    assert values == pytest.approx([np.log(7.0)] * 2, rel=1e-6)


@pytest.mark.parametrize(("output_is", "linear"), [("logits", True), ("probabilities", False)])
def test_a_difference_of_logits_is_linear_for_both_scores(output_is: str, linear: bool) -> None:
    for kind in ("logit", "log_probability"):
        target = Target.model_validate({"class": 0, "against": 1, "score": kind, "output_is": output_is})

        assert is_linear(target) is linear


def test_rows_that_are_compared_with_their_own_class_score_zero_and_are_counted(program: Program, tmp_path: Path) -> None:
    fields = {"x": X, "y": Y, "c": (np.arange(N) < 6).astype(np.int64)}

    target, clusters = {"class": "label", "against": 0}, {"by": "field", "field": "c"}
    summary, arrays = rank(program, tmp_path, fields, "1", METHODS, target=target, clusters=clusters, **KEPT)

    warned = [warning for warning in summary["warnings"] if warning["code"] == "against_is_class"]
    assert [warning["cluster"] for warning in warned] == ["0", "1"]
    assert all(warning["detail"].startswith("2 of 6 examples") for warning in warned)
    zero = np.concatenate([Y[6:] == 0, Y[:6] == 0])
    for name in NAMES:
        scores = np.concatenate([arrays[f"examples/{name}/{cluster}"] for cluster in ("0", "1")])
        assert not scores[zero].any(), name
        assert scores[~zero].any(axis=1).all(), name


def test_a_number_in_the_field_that_is_not_a_class_ends_the_job(program: Program, tmp_path: Path) -> None:
    fields = {"x": X, "y": Y, "other": np.full(N, 3)}

    with pytest.raises(EngineError, match=r"`target.against` 3 is not a class of the model; use numbers from 0 to 2") as caught:
        rank(program, tmp_path, fields, "1", ["gradient"], target={"class": "label", "against": {"field": "other"}}, **KEPT)

    assert caught.value.code == "class_out_of_range"
