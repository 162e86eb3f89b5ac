"""docs/errors.md: the page has all error messages of the code and all codes of the contract."""

import ast
from pathlib import Path
from typing import get_args

from docs.generate import errors_page

from unitrank_engine.archive.errors import Code
from unitrank_service.errors import STATUS

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "errors.md").read_text()
MODULE = """
def fetch(name, most):
    if most:
        detail = f"{name} has {len(name)} bytes; at most {most} are read"
    else:
        detail = f"{name!r} is empty"
    raise EngineError("too_large", detail)

def _refused(why):
    return BadTable("not_a_table", f"cannot be read: {why}")

def read(self):
    raise _refused("the shape is not a tuple") from None
    raise NotPossible("no folder " + self.folder)
"""


def test_page_when_compared_with_the_code_then_has_every_message() -> None:
    assert errors_page.page(ROOT) == PAGE, "run: python docs/generate/errors_page.py"


def test_page_when_compared_with_the_tables_of_codes_then_has_each_code() -> None:
    headings = {word.strip(",") for line in PAGE.splitlines() if line.startswith("### ") for word in line.split()}
    missing = {*STATUS, *get_args(Code)} - headings

    assert missing == set()


def test_messages_when_collected_then_are_those_that_the_code_can_make() -> None:
    collected = errors_page.module_messages(ast.parse(MODULE))

    assert sorted(collected) == [
        errors_page.Message("NotPossible (exit code 2)", "no folder {folder}", coded=False),
        errors_page.Message("not_a_table", "cannot be read: the shape is not a tuple", coded=True),
        errors_page.Message("not_a_table", "cannot be read: {why}", coded=True),
        errors_page.Message("too_large", "{name} has {name} bytes; at most {most} are read", coded=True),
        errors_page.Message("too_large", "{name} is empty", coded=True),
    ]
