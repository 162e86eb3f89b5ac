"""The main pass: kept examples, the precision of sums, smaller batches where memory is short."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.engine.ablation.plain import prepared
from tests.engine.in_process import program_of, rank
from unitrank_engine.attribution.main_pass import MainPass
from unitrank_engine.attribution.scores import Attribution
from unitrank_engine.attribution.target_pass import TargetPass
from unitrank_engine.job.baselines import find_baselines
from unitrank_engine.job.fills import Fills
from unitrank_engine.program import Program, Split
from unitrank_engine.program.split import Live

X = np.random.default_rng(0).normal(size=(24, 3)).astype(np.float32)
METHODS = ["gradient", {"name": "conductance", "steps": 6}]


@cache
def curved() -> Program:
    torch.manual_seed(0)
    return program_of(nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 2)), torch.ones(2, 3))


def attribution(folder: Path, **request: Any) -> Attribution:
    context = prepared(curved(), folder, {"x": X}, layer="1", methods=METHODS, inputs={"input": "x"}, **request)
    main = MainPass([TargetPass(Fills(context, find_baselines(context, 12), 12), list(context.request.methods))])
    main.plan()
    (result,) = main.run([None])
    assert isinstance(result, Attribution)
    return result


def test_kept_when_an_example_is_kept_then_its_batch_is_not(tmp_path: Path) -> None:
    result = attribution(tmp_path, keep_examples=1)

    for scores in result.by_key.values():
        (kept,) = scores.kept[0]
        assert kept.untyped_storage().nbytes() == 8 * 4


def test_baseline_when_shared_then_its_gradient_is_computed_once_for_each_target(tmp_path: Path) -> None:
    method = {"name": "conductance", "steps": 6, "rule": "left"}
    request = {"ablation": None, "fidelity": None, "keep_examples": 24}
    shared, shared_arrays = rank(
        curved(), tmp_path, {"x": X}, "1", [method], **request, baseline={"kind": "constant", "value": 0.5}
    )
    values = {"x": X, "b": np.full_like(X, 0.5)}
    separate, each = rank(curved(), tmp_path, values, "1", [method], **request, baseline={"kind": "field", "field": "b"})

    np.testing.assert_allclose(shared_arrays["examples/conductance/all"], each["examples/conductance/all"], rtol=1e-5, atol=1e-7)
    assert separate["cost"]["backward_rows"] == 24 * 6
    assert shared["cost"]["backward_rows"] == 24 * 5 + 2


class Gated(nn.Module):
    """A linear layer times a gate that is 0 or 1."""

    def __init__(self) -> None:
        super().__init__()
        self.gate, self.fc = nn.Linear(3, 4), nn.Linear(3, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(x) * (self.gate(x) > 0).float()


def test_gradient_when_the_target_depends_on_the_layer_by_comparisons_alone_then_it_is_zero(tmp_path: Path) -> None:
    request = {"ablation": {"random": 19}, "target": {"class": 1}, "keep_examples": 24}

    summary, arrays = rank(program_of(Gated(), torch.ones(2, 3)), tmp_path, {"x": X}, "gate", METHODS, **request)

    assert not arrays["examples/gradient/all"].any()
    assert not arrays["examples/conductance/all"].any()
    assert ("saturated", "gradient") in [(warning["code"], warning["ranking"]) for warning in summary["warnings"]]


def _short_of_memory(monkeypatch: pytest.MonkeyPatch, rows: int) -> list[int]:
    """Let the tail run out of memory above `rows`; return the row counts of all its calls."""
    batch_rows: list[int] = []
    tail = Split.tail

    def short(split: Split, h: Tensor, live: Live) -> Tensor:
        batch_rows.append(len(h))
        if len(h) > rows:
            raise torch.OutOfMemoryError(f"CUDA out of memory: {len(h)} rows")
        return tail(split, h, live)

    monkeypatch.setattr(Split, "tail", short)
    return batch_rows


def test_rank_when_memory_runs_out_then_fewer_rows_at_once_give_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit_rows: Callable[[int], None]
) -> None:
    limit_rows(64)
    request = {"ablation": {"random": 19, "examples": 3}, "clusters": {"by": "field", "field": "c"}, "keep_examples": 9}
    fields = {"x": X, "c": np.repeat([0, 1], [18, 6])}
    _, expected = rank(curved(), tmp_path, fields, "1", METHODS, **request)
    batch_rows = _short_of_memory(monkeypatch, 7)

    _, arrays = rank(curved(), tmp_path, fields, "1", METHODS, **request)

    assert max(batch_rows) > 7
    assert expected.keys() == arrays.keys()
    for name, values in expected.items():
        np.testing.assert_allclose(arrays[name], values, rtol=1e-5, atol=1e-6, err_msg=name)


def test_rank_when_not_even_one_row_fits_then_the_error_is_out_of_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _short_of_memory(monkeypatch, 0)

    with pytest.raises(torch.OutOfMemoryError):
        rank(curved(), tmp_path, {"x": X}, "1", METHODS)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_internal_influence_when_the_model_is_of_half_precision_then_many_steps_are_summed_in_more(
    dtype: torch.dtype, tmp_path: Path
) -> None:
    class Sum(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.sum(1, keepdim=True)

    x = np.array([[1.0, 3.0, -0.5, 2.0]])
    method = {"name": "internal_influence", "steps": 700, "spacing": "uniform"}
    request = {"ablation": None, "fidelity": None, "target": {"class": None}, "keep_examples": 1}

    _, arrays = rank(program_of(Sum(), torch.ones(2, 4, dtype=dtype)), tmp_path, {"x": x}, "input", [method], **request)

    # The gradient is 1 everywhere, and so is the sum of 700 steps.
    np.testing.assert_allclose(arrays["examples/internal_influence/all"], np.ones((1, 4)), rtol=1e-5)
