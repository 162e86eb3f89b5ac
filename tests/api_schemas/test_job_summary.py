"""The summary of a job from its result."""

from typing import Any

import pytest

from unitrank_schemas.jobs import job_summary

LEADER = {"ranking": "gradient", "verdict": "better_than_random", "robust": True, "area": 0.5, "of": 1}


@pytest.mark.parametrize(
    ("leaderboard", "summary"),
    [
        ([LEADER, {}], {"best": "gradient", "verdict": "better_than_random", "robust": True, "area": 0.5, "clusters": 2}),
        (
            [LEADER | {"area": None}],
            {"best": "gradient", "verdict": "better_than_random", "robust": True, "area": None, "clusters": 2},
        ),
        ([], {"best": None, "verdict": None, "robust": None, "area": None, "clusters": 2}),
    ],
)
def test_summary_when_the_result_is_valid_then_is_the_first_line_of_the_leaderboard(leaderboard: Any, summary: Any) -> None:
    assert job_summary({"leaderboard": leaderboard, "clusters": [{}, {}]}) == summary


@pytest.mark.parametrize(
    "result",
    [
        {},
        {"leaderboard": None, "clusters": []},
        {"leaderboard": [1], "clusters": []},
        {"leaderboard": [LEADER], "clusters": 3},
        {"leaderboard": [LEADER | {"area": float("nan")}], "clusters": []},
        {"leaderboard": [LEADER | {"verdict": "excellent"}], "clusters": []},
        {"leaderboard": [LEADER | {"ranking": "x" * 5000}], "clusters": []},
    ],
)
def test_summary_when_the_result_is_malformed_then_is_none(result: Any) -> None:
    """A worker's child sends the result. It must not end the worker's parent."""
    assert job_summary(result) is None


def _part(**leader: Any) -> Any:
    return {"leaderboard": [LEADER | leader]}


@pytest.mark.parametrize(
    ("layers", "joint", "best"),
    [
        ({"a": _part(area=0.2), "b": _part(area=0.4)}, None, "gradient at b"),
        ({"a": _part(area=0.2), "b": _part(area=0.4, verdict="no_better_than_random")}, None, "gradient at a"),
        ({"a": _part(area=0.2), "b": _part(area=None)}, None, "gradient at a"),
        ({"a": _part(area=0.2)}, _part(area=0.2), "gradient at joint"),
        ({"a": {"leaderboard": []}}, None, None),
    ],
)
def test_summary_when_there_are_several_layers_then_is_that_of_the_best_one(layers: Any, joint: Any, best: str | None) -> None:
    summary = job_summary({"layers": layers, "joint": joint, "clusters": [{}]})

    assert summary is not None
    assert summary["best"] == best
