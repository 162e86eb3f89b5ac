"""Outputs of one logit have two classes, and outputs can be probabilities.

The oracles are closed forms, and nets that compute the same function with an output of logits.
"""

from math import exp, log
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.engine.in_process import program_of, rank
from unitrank_engine.job.targets import fix, predicted, score
from unitrank_schemas.jobs.targets import Target

X = np.random.default_rng(0).normal(size=(24, 4)).astype(np.float32)
Y = (X[:, 0] > 0).astype(np.int64)
METHODS = [
    "gradient",
    "gradient_x_delta",
    {"name": "conductance", "steps": 12},
    {"name": "integrated_gradients", "steps": 12},
    {"name": "deeplift", "rules": "rescale"},
    "exact_ablation",
]
NO_TESTS: dict[str, Any] = {"ablation": None, "fidelity": None}


class TwoLogits(nn.Module):
    """The logits −z / 2 and z / 2: their softmax is the sigmoid of z, and z is their margin."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        z = self.net(x).reshape(-1, 1)
        return torch.cat([-z / 2, z / 2], 1)


def small(*last: nn.Module, outputs: int = 1) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, outputs), *last)


def importances(
    net: nn.Module, layer: str, folder: Path, target: dict[str, Any], **request: Any
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    program = program_of(net, torch.randn(2, 4))
    return rank(
        program, folder, {"x": X, "y": Y}, layer, METHODS, target=target, **{"clusters": {"by": "label"}} | NO_TESTS | request
    )


@pytest.mark.parametrize("shape", [(2,), (2, 1)])
def test_closed_forms_of_one_logit(shape: tuple[int, ...]) -> None:
    output = torch.tensor([2.0, -3.0]).reshape(shape)
    values = {}
    for kind in ("logit", "probability", "log_probability"):
        for choice in (0, 1):
            target = Target.model_validate({"class": choice, "score": kind})
            values[kind, choice] = score(target, output, fix(target, output, None)).tolist()

    sigmoids = [1 / (1 + exp(-2)), 1 / (1 + exp(3))]
    assert predicted(Target.model_validate({"class": "predicted"}), output).tolist() == [1, 0]
    assert values["logit", 1] == [2.0, -3.0]
    assert values["logit", 0] == [-2.0, 3.0]
    assert values["probability", 1] == pytest.approx(sigmoids)
    assert values["probability", 0] == pytest.approx([1 - p for p in sigmoids])
    assert values["log_probability", 1] == pytest.approx([log(p) for p in sigmoids])
    assert values["log_probability", 0] == pytest.approx([log(1 - p) for p in sigmoids])


@pytest.mark.parametrize("columns", [0, 1])
def test_closed_forms_of_one_probability(columns: int) -> None:
    output = torch.tensor([0.25, 0.5, 0.75, 1.0]).reshape(-1, *[1] * columns)

    def values(kind: str, choice: int) -> list[float]:
        target = Target.model_validate({"class": choice, "score": kind, "output_is": "probabilities"})
        return [float(each) for each in score(target, output, fix(target, output, None))]

    floor = log(1e-12)
    assert predicted(Target.model_validate({"class": 0, "output_is": "probabilities"}), output).tolist() == [0, 0, 1, 1]
    assert values("probability", 1) == [0.25, 0.5, 0.75, 1.0]
    assert values("probability", 0) == [0.75, 0.5, 0.25, 0.0]
    assert values("log_probability", 0) == pytest.approx([log(0.75), log(0.5), log(0.25), floor])
    assert values("logit", 1) == pytest.approx([log(0.25 / 0.75), 0.0, log(3), -floor])
    assert values("logit", 0) == pytest.approx([log(3), 0.0, -log(3), floor])


def test_closed_forms_of_several_probabilities() -> None:
    output = torch.tensor([[0.7, 0.3, 0.0]])

    def value(kind: str, choice: int) -> float:
        target = Target.model_validate({"class": choice, "score": kind, "output_is": "probabilities"})
        return float(score(target, output, fix(target, output, None)))

    floor = log(1e-12)
    mean = (log(0.7) + log(0.3) + floor) / 3
    assert [value("probability", choice) for choice in range(3)] == pytest.approx([0.7, 0.3, 0.0])
    assert [value("log_probability", choice) for choice in range(3)] == pytest.approx([log(0.7), log(0.3), floor])
    assert [value("logit", choice) for choice in range(3)] == pytest.approx([log(0.7), log(0.3), floor])
    assert value("centered", 1) == pytest.approx(log(0.3) - mean)
    assert value("margin", 2) == pytest.approx(floor - log(0.7))


@pytest.mark.check
@pytest.mark.parametrize("kind", ["logit", "probability", "log_probability"])
@pytest.mark.parametrize("last", [[], [nn.Flatten(0)]], ids=["[N, 1]", "[N]"])
def test_one_logit_with_classes_has_the_scores_of_the_net_with_two_logits(kind: str, last: list[nn.Module], tmp_path: Path) -> None:
    net = small(*last)
    margin = {"logit": "margin"}.get(kind, kind)

    single, arrays = importances(net, "1", tmp_path, {"class": "label", "score": kind})
    double, expected = importances(TwoLogits(net), "net.1", tmp_path, {"class": "label", "score": margin})

    for name in (each["id"] for each in single["rankings"]):
        np.testing.assert_allclose(arrays[f"importance/{name}"], expected[f"importance/{name}"], atol=2e-6, rtol=1e-5)
    for cluster, other in zip(single["clusters"], double["clusters"], strict=True):
        assert cluster["accuracy"] == other["accuracy"]
        assert cluster["score"] == pytest.approx(other["score"], rel=1e-6)


def test_one_logit_when_clusters_are_by_prediction_then_they_are_the_two_classes(tmp_path: Path) -> None:
    net = small()
    with torch.no_grad():
        net[2].bias -= net(torch.from_numpy(X)).median()
        positive = net(torch.from_numpy(X))[:, 0] > 0

    summary, arrays = importances(net, "1", tmp_path, {"class": "predicted"}, clusters={"by": "prediction"})

    assert [cluster["name"] for cluster in summary["clusters"]] == ["0", "1"]
    assert arrays["rows/1"].tolist() == positive.nonzero()[:, 0].tolist()


@pytest.mark.check
@pytest.mark.parametrize("kind", ["probability", "log_probability"])
@pytest.mark.parametrize("outputs", [1, 3])
def test_output_of_probabilities_has_the_scores_of_the_net_with_logits(kind: str, outputs: int, tmp_path: Path) -> None:
    last = nn.Sigmoid() if outputs == 1 else nn.Softmax(-1)
    target = {"class": "label", "score": kind}

    summary, arrays = importances(small(last, outputs=outputs), "1", tmp_path, target | {"output_is": "probabilities"})
    logits, expected = importances(small(outputs=outputs), "1", tmp_path, target)

    # For log p, DeepLIFT multiplies the slopes of softmax and logarithm; for logits, it takes one
    # slope of both.
    for name in (each["id"] for each in summary["rankings"] if (each["id"], kind) != ("deeplift", "log_probability")):
        np.testing.assert_allclose(arrays[f"importance/{name}"], expected[f"importance/{name}"], atol=1e-5, rtol=1e-3)
    for ranking in summary["rankings"]:
        if ranking["id"] == "deeplift":
            assert all(each["completeness"]["relative_gap"] < 1e-5 for each in ranking["clusters"].values())
    for cluster, other in zip(summary["clusters"], logits["clusters"], strict=True):
        assert cluster["accuracy"] == other["accuracy"]
        assert cluster["score"] == pytest.approx(other["score"], rel=1e-5)
    assert not {"output_is_probability", "single_logit"} & {warning["code"] for warning in summary["warnings"]}


@pytest.mark.check
@pytest.mark.parametrize(
    ("last", "outputs", "y", "choice", "expected"),
    [
        ([], 1, Y, None, {"single_logit"}),
        ([], 1, Y.astype(bool), None, {"single_logit"}),
        ([], 1, Y + 1, None, set()),
        ([], 1, Y, "label", set()),
        ([nn.Sigmoid()], 1, Y, "label", {"output_is_probability"}),
        ([nn.Softmax(-1)], 3, Y, "label", {"output_is_probability"}),
        ([nn.Sigmoid()], 3, Y, "label", {"output_is_probability"}),
        ([], 3, Y, "label", set()),
    ],
)
def test_a_target_that_is_perhaps_another_one_has_a_warning(
    last: list[nn.Module], outputs: int, y: np.ndarray, choice: str | None, expected: set[str], tmp_path: Path
) -> None:
    program = program_of(small(*last, outputs=outputs), torch.randn(2, 4))

    summary, _ = rank(program, tmp_path, {"x": X, "y": y}, "1", ["gradient"], target={"class": choice}, **NO_TESTS)

    assert {warning["code"] for warning in summary["warnings"]} & {"single_logit", "output_is_probability"} == expected


def test_labels_of_one_logit_when_no_class_is_named_then_there_is_a_warning(tmp_path: Path) -> None:
    program = program_of(small(), torch.randn(2, 4))

    summary, _ = rank(program, tmp_path, {"x": X, "y": Y}, "1", ["gradient"], target={"class": None}, **NO_TESTS)

    (detail,) = [warning["detail"] for warning in summary["warnings"] if warning["code"] == "single_logit"]
    assert "set `target.class` to 'label'" in detail
    assert [cluster["accuracy"] for cluster in summary["clusters"]] == [None]


class OwnSoftmax(nn.Module):
    """Shares that no softmax operator computes."""

    def forward(self, z: Tensor) -> Tensor:
        return z.exp() / z.exp().sum(1, keepdim=True)


@pytest.mark.check
def test_probabilities_without_a_softmax_operator_are_known_by_their_values(tmp_path: Path) -> None:
    program = program_of(small(OwnSoftmax(), outputs=3), torch.randn(2, 4))

    summary, _ = rank(program, tmp_path, {"x": X, "y": Y}, "1", ["gradient"], **NO_TESTS)

    assert "output_is_probability" in {warning["code"] for warning in summary["warnings"]}
