"""The tables of docs/verdict.md: page and JSON agree, and the figures keep the promise."""

import json
from pathlib import Path

import pytest
from benchmarks.calibration import record
from benchmarks.calibration.rates import Share, limit
from docs.generate import calibration_tables
from scipy import stats

ROOT = Path(__file__).parents[2]
RECORDS = record.read(ROOT / calibration_tables.RESULTS)
NOISE = [each for each in RECORDS if each["group"] == "noise"]
COVERAGE = [each for each in RECORDS if each["group"] == "coverage"]


def test_page_when_compared_with_the_json_then_is_equal() -> None:
    (committed,) = calibration_tables.BLOCK.findall((ROOT / "docs" / calibration_tables.PAGE).read_text(encoding="utf-8"))

    assert committed == calibration_tables.tables(json.loads(json.dumps(RECORDS))), (
        "run: python docs/generate/calibration_tables.py"
    )


def test_json_when_compared_with_the_regimes_then_has_each_once() -> None:
    assert [each["name"] for each in RECORDS] == list(record.MEASURES), "run: python -m benchmarks.calibration"
    assert {each["name"]: each["title"] for each in RECORDS} == {name: each.title for name, each in record.MEASURES.items()}


@pytest.mark.parametrize("regime", NOISE, ids=lambda regime: regime["name"])
def test_noise_when_judged_in_a_thousand_jobs_then_is_seldom_better(regime: record.Record) -> None:
    better, rankings = regime["shares"]["better"], regime["shares"]["family"]["of"]

    assert rankings >= 1000
    assert better["count"] / better["of"] <= limit(better["of"])


@pytest.mark.parametrize("regime", COVERAGE, ids=lambda regime: regime["name"])
def test_interval_when_drawn_a_thousand_times_then_covers_the_truth(regime: record.Record) -> None:
    shares = regime["shares"].values()

    # Stratified t intervals cover less with two examples, whose drops are far from normal.
    assert min(share["of"] for share in shares) >= 1000
    assert min(share["count"] / share["of"] for share in shares) >= (0.9 if regime["name"] == "difference-2" else 1 - limit(1000))


@pytest.mark.parametrize(("count", "of"), [(0, 10), (3, 10), (10, 10), (50, 1000)])
def test_interval_when_compared_with_scipy_then_is_equal(count: int, of: int) -> None:
    exact = stats.binomtest(count, of).proportion_ci(method="exact")

    assert Share(count, of).interval() == pytest.approx((exact.low, exact.high))


@pytest.mark.parametrize(("group", "count", "over"), [("noise", 71, True), ("noise", 70, False), ("power", 71, False)])
def test_record_when_noise_is_better_too_often_then_is_over_the_limit(group: str, count: int, over: bool) -> None:
    better = record.Counted(count=count, of=1000, low=0.0, high=1.0)

    assert record.over_limit(record.Record(name="a", group=group, title="a", jobs=1000, shares={"better": better})) == over
