"""Examples as inputs of the model: types, preprocessing, and refused values."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.engine.in_process import program_of, rank
from unitrank_engine.errors import EngineError
from unitrank_engine.program import Program

RANDOM = np.random.default_rng(0)
PLAIN = {"ablation": None, "fidelity": None, "keep_examples": 8}


@pytest.fixture(scope="module")
def dense() -> Program:
    return program_of(nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)), torch.randn(2, 3))


@pytest.fixture(scope="module")
def images() -> Program:
    return program_of(nn.Sequential(nn.Conv2d(2, 3, 2), nn.Flatten(), nn.Linear(12, 2)), torch.randn(2, 2, 3, 3))


class Mixed(nn.Module):
    """Takes ids, a number for each example, and a vector."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.fc, self.head = nn.Embedding(9, 4), nn.Linear(3, 4), nn.Linear(4, 2)

    def forward(self, ids: Tensor, weight: Tensor, x: Tensor) -> Tensor:
        return self.head(torch.tanh(self.words(ids).mean(1) + self.fc(x) * weight[:, None]))


def inputs_of(program: Program, folder: Path, fields: dict[str, np.ndarray], **request: Any) -> np.ndarray:
    """The inputs that the model gets: the activation of its input."""
    _, arrays = rank(program, folder, fields, "input", ["activation"], **(PLAIN | request))
    return arrays["examples/activation/all"]


@pytest.mark.parametrize(
    "dtype", ["uint8", "int8", "uint16", "int16", "uint32", "int64", "uint64", "float16", "float32", "float64", "bool"]
)
def test_inputs_of_any_number_type_are_cast(dtype: str, dense: Program, tmp_path: Path) -> None:
    values = np.array([[0, 1, 0], [1, 1, 0]]).astype(dtype)

    np.testing.assert_array_equal(inputs_of(dense, tmp_path, {"x": values}), values.astype(np.float32))


@pytest.mark.parametrize(
    "preprocess",
    [
        {"scale": 2.0},
        {"scale": 1 / 255, "mean": 0.5, "std": 0.25},
        {"mean": [0.5, -1.0]},
        {"scale": [2.0, 3.0], "mean": [0.1, 0.2], "std": [0.5, 4.0]},
    ],
)
def test_preprocessing_scales_then_centres_then_divides_along_axis_1(
    preprocess: dict[str, Any], images: Program, tmp_path: Path
) -> None:
    x = RANDOM.integers(0, 256, (4, 2, 3, 3)).astype(np.uint8)
    scale, mean, std = (
        np.reshape(preprocess.get(key, default), (-1, 1, 1)) for key, default in (("scale", 1), ("mean", 0), ("std", 1))
    )

    inputs = inputs_of(images, tmp_path, {"x": x}, preprocess=preprocess)

    np.testing.assert_allclose(inputs, (x * scale - mean) / std, rtol=1e-6, atol=1e-6)


def test_lists_count_along_axis_1_of_vectors_too(dense: Program, tmp_path: Path) -> None:
    x = RANDOM.normal(size=(4, 3))

    inputs = inputs_of(dense, tmp_path, {"x": x}, preprocess={"mean": [1.0, 2.0, 3.0]})

    np.testing.assert_allclose(inputs, x - [1, 2, 3], rtol=1e-5)


def test_ids_are_not_scaled_and_only_the_looked_up_vectors_move(tmp_path: Path) -> None:
    program = program_of(Mixed(), torch.randint(0, 9, (2, 3)), torch.randn(2), torch.randn(2, 3))
    fields = {"ids": RANDOM.integers(0, 9, (6, 3)), "weight": RANDOM.normal(size=6), "x": RANDOM.normal(size=(6, 3))}

    summary, _ = rank(program, tmp_path, fields, "head", ["conductance"], at="input", preprocess={"scale": 0.5})

    completeness = summary["rankings"][0]["clusters"]["all"]["completeness"]
    with torch.no_grad():
        ids, weight, x = (torch.from_numpy(fields[name]) for name in ("ids", "weight", "x"))
        words = program.lift((ids, weight, x))[-1]
        whole, none = (
            program.forward((ids, weight.float() * share, x.float() * share, words * share * 2), "output") for share in (0.5, 0.0)
        )
    predicted = whole.argmax(1, keepdim=True)
    assert summary["layer"]["cut"]
    assert completeness["relative_gap"] < 1e-5
    assert completeness["expected"] == pytest.approx(float((whole - none).gather(1, predicted).mean()), rel=1e-4)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_an_input_with_nan_ends_the_job_with_field_and_row(bad: float, dense: Program, tmp_path: Path) -> None:
    x = RANDOM.normal(size=(6, 3))
    x[4, 1] = bad

    with pytest.raises(EngineError, match=r"field 'x' is NaN or infinite in row 4;") as caught:
        inputs_of(dense, tmp_path, {"x": x})

    assert caught.value.code == "non_finite"


@pytest.mark.parametrize(("x", "preprocess"), [(1e39, {}), (1e38, {"std": 1e-3}), (1.0, {"std": 1e-50})])
def test_the_error_of_a_too_large_number_differs_from_that_of_an_infinite_number(
    x: float, preprocess: dict[str, float], dense: Program, tmp_path: Path
) -> None:
    with pytest.raises(EngineError, match=r"field 'x' is NaN or infinite in row 0 after preprocessing to float32") as caught:
        inputs_of(dense, tmp_path, {"x": np.full((2, 3), x)}, preprocess=preprocess)

    assert caught.value.code == "non_finite"


def test_a_row_outside_of_the_job_may_be_no_number(dense: Program, tmp_path: Path) -> None:
    x = RANDOM.normal(size=(6, 3))
    x[4, 1] = np.nan

    rank(dense, tmp_path, {"x": x}, "0", ["conductance"], clusters={"by": "members", "members": {"a": [0, 5]}}, **PLAIN)


def test_nan_in_a_field_with_one_number_for_each_example_is_named(tmp_path: Path) -> None:
    program = program_of(Mixed(), torch.randint(0, 9, (2, 3)), torch.randn(2), torch.randn(2, 3))
    fields = {"ids": np.zeros((3, 3), dtype=int), "weight": np.array([1.0, np.nan, 1.0]), "x": np.zeros((3, 3))}

    with pytest.raises(EngineError, match="field 'weight' is NaN or infinite in row 1"):
        rank(program, tmp_path, fields, "fc", ["gradient"], **PLAIN)


def test_a_baseline_with_nan_is_named_by_the_field_of_the_baseline(dense: Program, tmp_path: Path) -> None:
    x = RANDOM.normal(size=(4, 3))
    fields = {"x": x, "x0": np.where(np.arange(4)[:, None] == 2, np.nan, x)}

    with pytest.raises(EngineError, match="field 'x0' is NaN or infinite in row 2"):
        rank(dense, tmp_path, fields, "0", ["conductance"], baseline={"kind": "field", "field": "x0"}, **PLAIN)


class Logarithm(nn.Module):
    """Its output is finite only when its input is positive."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(3, 2)
        nn.init.eye_(self.fc.weight)
        nn.init.zeros_(self.fc.bias)

    def forward(self, x: Tensor) -> Tensor:
        return torch.log(self.fc(x))


@pytest.fixture(scope="module")
def logarithm() -> Program:
    return program_of(Logarithm(), torch.rand(2, 3))


@pytest.mark.parametrize("method", ["activation", "gradient", "conductance"])
@pytest.mark.parametrize(("x", "baseline"), [(-1.0, 1.0), (1.0, 0.0)])
def test_an_output_with_nan_ends_the_job(method: str, x: float, baseline: float, logarithm: Program, tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"the model's output became NaN or infinite") as caught:
        rank(
            logarithm,
            tmp_path,
            {"x": np.full((2, 3), x)},
            "fc",
            [method],
            baseline={"kind": "constant", "value": baseline},
            **PLAIN,
        )

    assert caught.value.code == "non_finite"


def test_a_failed_job_leaves_the_program_unchanged(logarithm: Program, tmp_path: Path) -> None:
    fields = {"x": np.full((2, 3), 0.5)}
    settings = {"baseline": {"kind": "constant", "value": 1.0}, **PLAIN}
    _, before = rank(logarithm, tmp_path, fields, "fc", ["gradient", "conductance"], **settings)

    for bad in (-1.0, np.nan):
        with pytest.raises(EngineError):
            rank(logarithm, tmp_path, {"x": np.full((2, 3), bad)}, "fc", ["gradient"], **settings)
    _, after = rank(logarithm, tmp_path, fields, "fc", ["gradient", "conductance"], **settings)

    assert all(np.array_equal(after[key], values, equal_nan=True) for key, values in before.items())
    assert all(parameter.grad is None and not parameter.requires_grad for parameter in logarithm.module.parameters())


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_models_of_other_real_types_are_ranked_too(dtype: torch.dtype, tmp_path: Path) -> None:
    program = program_of(nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).to(dtype), torch.randn(2, 3, dtype=dtype))

    summary, arrays = rank(program, tmp_path, {"x": RANDOM.normal(size=(6, 3))}, "0", ["conductance", "random"], keep_examples=2)

    assert arrays["examples/conductance/all"].shape == (2, 4)
    assert summary["rankings"][0]["clusters"]["all"]["completeness"]["relative_gap"] < 0.1
