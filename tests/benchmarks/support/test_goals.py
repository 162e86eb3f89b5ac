"""A benchmark exits with 1 if a goal is missed, and stops waiting for a job that never ends."""

import time

import pytest
from benchmarks.service import flood, load
from benchmarks.support.goals import ends, report_missed

FAST = {"during the flood": [0.01] * 200, "after the flood": [0.01] * 200}
SLOW = {"during the flood": [0.01] * 180 + [0.2] * 20, "after the flood": [0.01] * 200}


@pytest.mark.parametrize(
    ("missed", "expected"),
    [
        (load.missed_goals(3.0, 0), []),
        (load.missed_goals(1.0, 2), ["2 jobs were lost"]),
        (load.missed_goals(3.2, 0), ["a job takes 3.20 times as long as in RQ's worker; the goal is at most 3"]),
        (flood.missed_goals(0, [0, 2, 1], FAST), []),
        (flood.missed_goals(1, [], FAST), ["jobs of the other key that did not end: 1"]),
        (flood.missed_goals(0, [1, 3], FAST), ["a job of the other key waited for 3 jobs; the goal is at most 2"]),
        (flood.missed_goals(0, [1], SLOW), ["during the flood the p99 of GET is 200 ms; the goal is under 100 ms"]),
    ],
)
def test_run_when_a_goal_is_missed_then_ends_with_1_and_prints_each(
    missed: list[str], expected: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    status = 0
    try:
        report_missed(missed)
    except SystemExit as end:
        status = int(str(end.code))

    assert missed == expected
    assert status == bool(expected)
    assert capsys.readouterr().out == "".join(f"GOAL MISSED: {each}\n" for each in expected)


def test_job_when_it_never_ends_then_waiting_stops() -> None:
    assert not ends(lambda: time.sleep(0.01) is not None, 0.05)
    assert ends(lambda: True, 0.0)
