"""The examples in the engine's docstrings run and print what they show."""

import doctest
import inspect
import pkgutil
from importlib import import_module

import pytest

import unitrank_engine

MODULES = [
    module.name
    for module in pkgutil.walk_packages(unitrank_engine.__path__, "unitrank_engine.")
    # doctest takes 0.1 s to find that a module has no example.
    if ">>> " in inspect.getsource(import_module(module.name))
]


@pytest.mark.parametrize("name", MODULES)
def test_docstring_when_it_has_examples_then_their_output_is_as_shown(name: str) -> None:
    results = doctest.testmod(import_module(name), optionflags=doctest.NORMALIZE_WHITESPACE)

    assert results.attempted > 0
    assert results.failed == 0
