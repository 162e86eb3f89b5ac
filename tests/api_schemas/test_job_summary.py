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
