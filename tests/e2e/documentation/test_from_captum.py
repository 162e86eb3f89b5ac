"""docs/from-captum.md names every class of Captum, and has the numbers that the example prints."""

import re
import subprocess
import sys
from pathlib import Path

import captum.attr
import pytest

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "from-captum.md").read_text()
SCRIPT = ROOT / "examples" / "from_captum.py"
NUMBER = re.compile(r"(?<!< )(?<![\w.])\d+(?:\.\d+)?(?![\w.-])")
TOLERANCE = 0.05


def cells(row: str) -> list[str]:
    """The cells of a row of a table, without the marks of code."""
    return [cell.strip().replace("`", "") for cell in row.strip("| ").split(" | ")]


def assert_equal_numbers(page: str, printed: str) -> None:
    """Words are equal, numbers nearly: rounding differs between machines."""
    of_page, of_script = ([float(number) for number in NUMBER.findall(text)] for text in (page, printed))

    assert NUMBER.sub("#", page) == NUMBER.sub("#", printed)
    assert of_page == pytest.approx(of_script, rel=TOLERANCE)


def test_page_when_captum_has_an_attribution_class_then_names_it() -> None:
    assert set(captum.attr.__all__) - set(re.findall(r"\w+", PAGE)) == set()


@pytest.mark.check
def test_page_when_the_example_runs_then_has_its_numbers_and_its_entries() -> None:
    ended = subprocess.run([sys.executable, str(SCRIPT)], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    example, differences, gaps = ended.stdout.split("\n\n")

    (block,) = re.findall(r"^```text\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    # Another machine may draw other random orders.
    assert {NUMBER.sub("#", line) for line in block.splitlines()} == {NUMBER.sub("#", line) for line in example.splitlines()}
    rows = {cells(row)[0]: cells(row)[1:] for row in PAGE.splitlines() if row.startswith("| ")}
    for name, entry, difference in map(cells, differences.splitlines()):
        assert rows[name][0].startswith(entry)
        assert_equal_numbers(rows[name][1], difference)
    for name, *both in map(cells, gaps.splitlines()):
        assert_equal_numbers(" and ".join(rows[name]), " and ".join(both))
