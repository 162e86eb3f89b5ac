"""A fixture that loads the architectures as programs."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from tests.engine.architectures.zoo import archive
from unitrank_engine.archive import load
from unitrank_engine.program import Program


@pytest.fixture(scope="session")
def loaded(shared_folder: Path) -> Callable[[str], Program]:
    """A function that loads an architecture by its name. One process of the session exports it."""
    return cache(lambda name: Program.from_exported(load(archive(name, shared_folder))))
