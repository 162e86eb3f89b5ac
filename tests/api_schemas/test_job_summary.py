"""The summary of a job from its result."""

from typing import Any

import pytest

from unitrank_schemas.jobs import job_summary

LEADER = {"ranking": "gradient", "verdict": "better_than_random", "robust": True, "area": 0.5, "of": 1}


def _part(*lines: Any) -> Any:
    """A result with these lines of the leaderboard. A ranking's id is the name of its method."""
    names = {line["ranking"] for line in lines}
    return {
        "leaderboard": list(lines),
        "rankings": [{"id": name, "method": {"name": name}} for name in names],
        "clusters": [{}, {}],
    }


def _line(ranking: str = "gradient", **leader: Any) -> Any:
    return LEADER | {"ranking": ranking, **leader}


def _summary(**values: Any) -> Any:
    return {"best": "gradient", "verdict": "better_than_random", "robust": True, "area": 0.5, "clusters": 2} | values


@pytest.mark.parametrize(
    ("result", "summary"),
    [
        (_part(_line(), _line("taylor")), _summary()),
        (_part(_line(area=None)), _summary(area=None)),
        (_part(), _summary(best=None, verdict=None, robust=None, area=None)),
    ],
)
def test_summary_when_the_result_is_valid_then_is_the_first_line_of_the_leaderboard(result: Any, summary: Any) -> None:
    assert job_summary(result) == summary


@pytest.mark.parametrize("control", ["weight_norm", "random", "given"])
def test_summary_when_a_control_comes_first_then_is_the_next_line(control: str) -> None:
    assert job_summary(_part(_line(control, area=0.9), _line())) == _summary()


@pytest.mark.parametrize(("names", "best"), [(["random", "weight_norm"], "weight_norm"), (["random"], "random")])
def test_summary_when_there_are_only_controls_then_is_that_of_the_first_one_that_is_not_noise(names: list[str], best: str) -> None:
    summary = job_summary(_part(*map(_line, names)))

    assert summary is not None
    assert summary["best"] == best


@pytest.mark.parametrize(
    "result",
    [
        {},
        {"leaderboard": None, "clusters": []},
        {"leaderboard": [1], "clusters": []},
        _part(_line()) | {"clusters": 3},
        _part(_line(area=float("nan"))),
        _part(_line(verdict="excellent")),
        _part(_line("x" * 5000)),
        {"leaderboard": [LEADER], "clusters": [], "rankings": []},
        {"leaderboard": [LEADER], "clusters": [], "rankings": [{"id": "gradient", "method": 3}]},
    ],
)
def test_summary_when_the_result_is_malformed_then_is_none(result: Any) -> None:
    """A worker's child sends the result. It must not end the worker's parent."""
    assert job_summary(result) is None


@pytest.mark.parametrize(
    ("layers", "joint", "best"),
    [
        ({"a": _part(_line(area=0.2)), "b": _part(_line(area=0.4))}, None, "gradient at b"),
        ({"a": _part(_line(area=0.2)), "b": _part(_line(area=0.4, verdict="no_better_than_random"))}, None, "gradient at a"),
        ({"a": _part(_line(area=0.2)), "b": _part(_line(area=None))}, None, "gradient at a"),
        ({"a": _part(_line(area=0.2))}, _part(_line(area=0.2)), "gradient at joint"),
        ({"a": _part()}, None, None),
    ],
)
def test_summary_when_there_are_several_layers_then_is_that_of_the_best_one(layers: Any, joint: Any, best: str | None) -> None:
    summary = job_summary({"layers": layers, "joint": joint, "clusters": [{}]})

    assert summary is not None
    assert summary["best"] == best
