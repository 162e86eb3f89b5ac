"""Progress counts rows, and its time left goes by what rows cost."""

from typing import Any

import pytest

from unitrank_engine.job import progress
from unitrank_engine.job.progress import ProgressMeter


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time that the meter sees, in seconds."""
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_advance_when_a_stage_has_settled_then_its_own_speed_counts(clock: list[float]) -> None:
    """Ten rows of cost 2 in 4 s leave 90 rows of cost 2 and 100 of cost 1: 280 units of cost at 5 a second."""
    said: list[dict[str, Any]] = []
    meter = ProgressMeter(said.append)
    meter.plan("attribution", 100, 2.0)
    meter.plan("ablation", 100, 1.0)

    clock[0] += 4.0
    meter.advance("attribution", 10)

    assert said == [{"done": 10, "total": 200, "unit": "rows", "stage": "attribution", "eta": 56.0}]


def test_advance_when_a_stage_has_just_begun_then_the_whole_job_is_the_measure(clock: list[float]) -> None:
    """200 units of cost in 10 s and one row of cost 1 in half a second: 99 left at 201 / 10.5 a second."""
    said: list[dict[str, Any]] = []
    meter = ProgressMeter(said.append)
    meter.plan("attribution", 100, 2.0)
    meter.plan("ablation", 100, 1.0)

    clock[0] += 10.0
    meter.advance("attribution", 100)
    clock[0] += 0.5
    meter.advance("ablation", 1)

    assert said[-1]["eta"] == pytest.approx(99 * 10.5 / 201)


def test_advance_when_all_rows_are_done_then_nothing_is_left(clock: list[float]) -> None:
    said: list[dict[str, Any]] = []
    meter = ProgressMeter(said.append)
    meter.plan("attribution", 5, 3.0)

    clock[0] += 2.0
    meter.advance("attribution", 5)

    assert (said[-1]["done"], said[-1]["total"], said[-1]["eta"]) == (5, 5, 0.0)
