"""Progress counts rows, and estimates the time left from the cost of rows."""

from typing import Any

import pytest

from tests.support.clock import Clock
from unitrank_engine.job.progress import ProgressMeter


@pytest.fixture
def clock() -> Clock:
    """The time that the meter sees."""
    return Clock(100.0)


def test_advance_when_a_stage_has_run_for_a_second_then_only_the_speed_of_the_stage_counts(clock: Clock) -> None:
    """The speed of the stage gives the time left.

    Ten rows of cost 2 take 4 s, so the speed is 5 a second. 90 rows of cost 2 and 100 of cost 1 are
    left, together 280.
    """
    records: list[dict[str, Any]] = []
    meter = ProgressMeter(records.append, clock)
    meter.plan("attribution", 100, 2.0)
    meter.plan("ablation", 100, 1.0)

    clock.advance(4.0)
    meter.advance("attribution", 10)

    assert records == [{"done": 10, "total": 200, "unit": "rows", "stage": "attribution", "eta": 56.0}]


def test_advance_when_a_stage_has_just_begun_then_the_whole_job_is_the_measure(clock: Clock) -> None:
    """The speed of the whole job gives the time left.

    Cost 200 takes 10 s and one row of cost 1 takes half a second. A cost of 99 is left, at 201 /
    10.5 a second.
    """
    records: list[dict[str, Any]] = []
    meter = ProgressMeter(records.append, clock)
    meter.plan("attribution", 100, 2.0)
    meter.plan("ablation", 100, 1.0)

    clock.advance(10.0)
    meter.advance("attribution", 100)
    clock.advance(0.5)
    meter.advance("ablation", 1)

    assert records[-1]["eta"] == pytest.approx(99 * 10.5 / 201)


def test_advance_when_all_rows_are_done_then_no_time_is_left(clock: Clock) -> None:
    records: list[dict[str, Any]] = []
    meter = ProgressMeter(records.append, clock)
    meter.plan("attribution", 5, 3.0)

    clock.advance(2.0)
    meter.advance("attribution", 5)

    assert (records[-1]["done"], records[-1]["total"], records[-1]["eta"]) == (5, 5, 0.0)
