"""Each score of each choice of class equals its formula; class and rival are fixed at the input."""

from math import exp, log
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.engine import oracle
from tests.engine.in_process import program_of, rank
from unitrank_engine.errors import EngineError
from unitrank_engine.job.targets import fix, score
from unitrank_engine.program import Program
from unitrank_schemas.jobs.targets import Target

SCORES = ["logit", "centered", "margin", "probability", "log_probability"]
Z = torch.tensor([[1.0, 3.0, 2.0, -4.0], [0.5, 0.5, 0.5, 0.5], [-1.0, -2.0, -3.0, 7.0]])
LABELS = torch.tensor([2, 0, 3])


@pytest.fixture(scope="module")
def logits() -> Program:
    """A model whose layer is its output: h is z."""
    torch.manual_seed(0)
    return program_of(nn.Sequential(nn.Tanh(), nn.Linear(3, 4)), torch.randn(2, 3))


@pytest.mark.parametrize("kind", SCORES)
@pytest.mark.parametrize(("choice", "classes"), [("label", [2, 0, 3]), ("predicted", [1, 0, 3]), (1, [1, 1, 1])])
def test_score_of_each_class_equals_its_formula(kind: str, choice: Any, classes: list[int]) -> None:
    target = Target.model_validate({"class": choice, "score": kind})

    fixed = fix(target, Z, LABELS if choice == "label" else None)
    scores = score(target, Z, fixed)

    assert fixed.classes.tolist() == classes
    for z, chosen, value in zip(Z.double(), classes, scores, strict=True):
        assert float(value) == pytest.approx(
            float(oracle.score_of(kind, z, chosen, oracle.rival_of(z, chosen))), rel=1e-6, abs=1e-7
        )


def test_closed_forms_of_two_classes() -> None:
    z = torch.tensor([[2.0, -1.0]])
    values = {}
    for kind in SCORES:
        target = Target.model_validate({"class": 0, "score": kind})
        values[kind] = float(score(target, z, fix(target, z, None)))

    sigmoid = 1 / (1 + exp(-3))
    assert values == pytest.approx(
        {"logit": 2.0, "centered": 1.5, "margin": 3.0, "probability": sigmoid, "log_probability": log(sigmoid)}, rel=1e-6
    )


@pytest.mark.parametrize("output", [torch.tensor([1.5, -2.0]), torch.tensor([[1.5], [-2.0]])])
def test_the_score_of_an_output_without_classes_is_the_output(output: Tensor) -> None:
    target = Target.model_validate({"class": None, "score": "logit"})

    assert score(target, output, fix(target, output, None)).tolist() == [1.5, -2.0]


def test_margin_keeps_its_rival_where_another_class_overtakes_it() -> None:
    target = Target.model_validate({"class": "predicted", "score": "margin"})
    fixed = fix(target, torch.tensor([[5.0, 4.0, 0.0]]), None)

    altered = torch.tensor([[1.0, 2.0, 9.0]])

    assert float(score(target, altered, fixed)) == 1.0 - 2.0


def test_class_and_rival_are_fixed_at_the_input_all_along_the_path(logits: Program, tmp_path: Path) -> None:
    """At a layer that is the output, scores are exact differences of logits.

    F(x) − F(x′) is Δz of the class less Δz of the rival.
    """
    x = np.random.default_rng(0).normal(size=(30, 3)).astype(np.float32) * 3
    h, _ = logits.split(logits.place("1", "output"), "output").head((torch.from_numpy(x),))
    start = logits.forward((torch.zeros(1, 3),), "output")[0]

    _, arrays = rank(
        logits, tmp_path, {"x": x}, "1", [{"name": "conductance", "steps": 3}],
        target={"class": "predicted", "score": "margin"}, ablation=None, fidelity=None, keep_examples=30,
    )  # fmt: skip

    for z, scores in zip(h, arrays["examples/conductance/all"], strict=True):
        first, second = z.topk(2).indices.tolist()
        expected = np.zeros(4)
        expected[first], expected[second] = z[first] - start[first], -(z[second] - start[second])
        np.testing.assert_allclose(scores, expected, atol=1e-5)
    assert len({tuple(z.topk(2).indices.tolist()) for z in h}) > 2


@pytest.mark.parametrize("label", [-1, 4, 255])
def test_a_label_that_is_not_a_class_ends_the_job(label: int, logits: Program, tmp_path: Path) -> None:
    fields = {"x": np.zeros((3, 3), dtype=np.float32), "y": np.array([0, label, 1])}

    with pytest.raises(EngineError, match=rf"label {label} is not a class of the model; use numbers from 0 to 3") as caught:
        rank(logits, tmp_path, fields, "1", ["gradient"], ablation=None, fidelity=None)

    assert caught.value.code == "class_out_of_range"


@pytest.mark.parametrize("columns", [0, 1])
def test_regressions_are_ranked_without_accuracy(columns: int, tmp_path: Path) -> None:
    program = program_of(
        nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1), *[nn.Flatten(0)] * (1 - columns)), torch.randn(2, 3)
    )
    x = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)

    summary, _ = rank(program, tmp_path, {"x": x}, "0", ["conductance"], target={"class": None})

    (cluster,) = summary["clusters"]
    values = program.forward((torch.from_numpy(x),), "output").flatten()
    study = summary["rankings"][0]["clusters"]["all"]["ablation"]
    assert cluster["accuracy"] is None
    assert study["most"]["accuracy"] is None
    assert cluster["score"] == pytest.approx(float(values.double().mean()), rel=1e-6)
    assert summary["rankings"][0]["clusters"]["all"]["completeness"]["relative_gap"] < 1e-2
