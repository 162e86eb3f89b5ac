"""The tables of docs/scaling.md: page and recorded constants agree."""

import json
from pathlib import Path

import pytest
from docs.generate import scaling_tables

ROOT = Path(__file__).parents[2]
MEASURED = json.loads((ROOT / scaling_tables.RESULTS).read_text())


def test_page_when_compared_with_the_constants_then_is_equal() -> None:
    (committed,) = scaling_tables.BLOCK.findall((ROOT / "docs" / scaling_tables.PAGE).read_text(encoding="utf-8"))

    assert committed == scaling_tables.tables(MEASURED), "run: python docs/generate/scaling_tables.py"


def test_workers_when_jobs_take_a_known_time_then_are_busy_for_at_most_seventy_percent() -> None:
    demo = {**MEASURED["demo"], "seconds": 252.0}
    (row,) = [line for line in scaling_tables.tables({**MEASURED, "demo": demo}).splitlines() if line.startswith("| 1,000 demo ")]

    # 1 000 jobs of 252 s are 70 hours of work in an hour.
    assert row.split(" | ")[1] == "100"


@pytest.mark.parametrize(("rows", "hours"), [(10**4, "1"), (10**9, "2,778")])
def test_examples_when_time_grows_by_a_known_slope_then_is_extrapolated(rows: int, hours: str) -> None:
    sizes = [{**MEASURED["sizes"][-1], "rows": count, "seconds": 1.0 + count * 7e-3} for count in (100, 1000)]
    table = scaling_tables.tables({**MEASURED, "sizes": sizes})
    row = next(line for line in table.splitlines() if line.startswith(f"| 10{scaling_tables._power(rows)} "))

    assert row.split(" | ")[-1] == f"{hours} |"
