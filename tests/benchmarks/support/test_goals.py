"""Runs that measure end by themselves, and with 1 where a goal is missed."""

import time

import pytest
from benchmarks import flood, load
from benchmarks.support.goals import ends, tell

FAST = {"while it posts": [0.01] * 200, "after that": [0.01] * 200}
SLOW = {"while it posts": [0.01] * 180 + [0.2] * 20, "after that": [0.01] * 200}


@pytest.mark.parametrize(
    ("missed", "lines"),
    [
        (load.missed(3.0, 0), []),
        (load.missed(1.0, 2), ["2 jobs were lost"]),
        (load.missed(3.2, 0), ["a job takes 3.20 times as long as RQ's, more than 3"]),
        (flood.missed(0, [0, 2, 1], FAST), []),
        (flood.missed(1, [], FAST), ["another key's job did not end"]),
        (flood.missed(0, [1, 3], FAST), ["another key's job waited for 3 jobs, more than 2"]),
        (flood.missed(0, [1], SLOW), ["while it posts the p99 of GET is 200 ms"]),
    ],
)
def test_run_when_a_goal_is_missed_then_ends_with_1_and_says_which(
    missed: list[str], lines: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    status = 0
    try:
        tell(missed)
    except SystemExit as end:
        status = int(str(end.code))

    assert missed == lines
    assert status == bool(lines)
    assert capsys.readouterr().out == "".join(f"GOAL MISSED: {each}\n" for each in lines)


def test_job_when_it_never_ends_then_is_not_waited_for_for_ever() -> None:
    assert not ends(lambda: time.sleep(0.01) is not None, 0.05)
    assert ends(lambda: True, 0.0)
