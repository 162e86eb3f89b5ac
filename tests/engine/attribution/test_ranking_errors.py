"""The error of a job whose ranking or study fails names that ranking and the finished ones."""

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.engine.in_process import program_of, rank
from unitrank_engine.attribution.ranking_errors import advise_without, all_scores
from unitrank_engine.errors import EngineError
from unitrank_engine.program import Program

ONE = torch.ones(1, 1)


class Rooted(nn.Module):
    """F = Σ √h: finite at h = 0, where its slope is not."""

    def __init__(self) -> None:
        super().__init__()
        self.act = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.act(x).sqrt().sum(1)


class Logarithmic(nn.Module):
    """F = Σ log h: finite at the baseline, but not where a unit is zero."""

    def __init__(self) -> None:
        super().__init__()
        self.act = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.act(x).log().sum(1)


@cache
def program(kind: type[nn.Module]) -> Program:
    return program_of(kind(), torch.ones(2, 3))


def failed(folder: Path, kind: type[nn.Module], methods: list[Any], **request: Any) -> EngineError:
    settings = {"ablation": None, "fidelity": None, "target": {"class": None}, **request}
    with pytest.raises(EngineError) as caught:
        rank(program(kind), folder, {"x": np.ones((8, 3), dtype=np.float32)}, "act", methods, **settings)
    return caught.value


def fail() -> Tensor:
    raise EngineError("non_finite", "nan", retryable=True)


def test_all_scores_when_all_succeed_then_they_are_returned() -> None:
    assert all_scores({"k": lambda: ONE}, {"a": "k", "b": "k"}) == {"k": ONE}


def test_all_scores_when_some_fail_then_the_error_names_the_first_and_lists_the_finished_rankings() -> None:
    makers = {"k1": lambda: ONE, "k2": fail, "k3": fail, "k4": lambda: ONE}
    keys = {"a": "k1", "b": "k2", "c": "k3", "b-2": "k2", "d": "k4"}
    with pytest.raises(EngineError) as caught:
        all_scores(makers, keys)

    error = caught.value
    assert (error.code, error.retryable, error.ranking, error.finished) == ("non_finite", True, "b", ("a", "d"))
    assert error.detail == "ranking 'b': nan; repeat the request without 'b' to get 'a', 'd'"


def test_all_scores_when_the_only_ranking_fails_then_the_error_gives_no_advice() -> None:
    with pytest.raises(EngineError) as caught:
        all_scores({"k": fail}, {"a": "k"})

    assert (caught.value.detail, caught.value.finished) == ("ranking 'a': nan", ())


def test_all_scores_when_another_error_is_raised_then_the_error_is_unchanged() -> None:
    def stop() -> Tensor:
        raise KeyError("ours")

    with pytest.raises(KeyError):
        all_scores({"k": stop, "l": fail}, {"a": "k", "b": "l"})


def test_advise_without_when_a_part_fails_then_names_the_request_that_gives_the_scores() -> None:
    with (
        pytest.raises(EngineError, match=r"nan; the scores .* repeat the request with `ablation: null`") as caught,
        advise_without("ablation", ["a"]),
    ):
        fail()

    assert (caught.value.finished, caught.value.ranking, caught.value.retryable) == (("a",), None, True)


def test_job_when_one_ranking_is_not_finite_then_the_error_names_this_and_the_finished_rankings(tmp_path: Path) -> None:
    conductance = {"name": "conductance", "rule": "trapezoid", "id": "path"}
    methods = [
        "gradient",
        conductance,
        {**conductance, "id": "again", "statistic": "rms"},
        {**conductance, "id": "right", "rule": "right"},
    ]
    error = failed(tmp_path, Rooted, methods)

    assert (error.code, error.ranking, error.finished) == ("non_finite", "path", ("gradient", "right"))
    assert "became NaN or infinite" in error.detail
    assert error.detail.endswith("repeat the request without 'path' to get 'gradient', 'right'")


def test_job_when_its_output_is_not_finite_then_no_ranking_is_blamed(tmp_path: Path) -> None:
    error = failed(tmp_path, Logarithmic, ["gradient", "activation"])

    assert (error.code, error.ranking, error.finished) == ("non_finite", None, ())
    assert error.detail.startswith("the model's output became NaN or infinite")


@pytest.mark.parametrize(
    "part",
    [{"ablation": {"fill": "zero", "random": 3, "check_fill": None}}, {"fidelity": {"fill": "zero"}}],
    ids=["ablation", "fidelity"],
)
def test_job_when_a_test_of_the_ranking_is_not_finite_then_the_error_lists_the_finished_scores(
    part: dict[str, Any], tmp_path: Path
) -> None:
    error = failed(tmp_path, Logarithmic, ["gradient", "activation"], baseline={"kind": "constant", "value": 2.0}, **part)

    assert (error.code, error.ranking, error.finished) == ("non_finite", None, ("gradient", "activation"))
    assert error.detail.endswith(f"repeat the request with `{next(iter(part))}: null` to get them")
