"""Runs the examples in the docstrings of a class or function."""

import doctest
import inspect
from typing import Any


def examples_of(documented: Any, names: dict[str, Any] | None = None) -> list[doctest.DocTest]:
    """The examples of a class and its methods, or of a function. They can use `names`."""
    module = inspect.getmodule(documented)
    finder = doctest.DocTestFinder(exclude_empty=True)
    return [test for test in finder.find(documented, documented.__name__, module, names or {}) if test.examples]


def run(test: doctest.DocTest) -> str:
    """Run the examples of a docstring; returns the differences from the expected output."""
    lines: list[str] = []
    doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(test, out=lines.append)
    return "".join(lines)
