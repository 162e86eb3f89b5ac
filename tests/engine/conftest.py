"""Fixtures of the engine's tests."""

import sys
from collections.abc import Callable, Iterator

import pytest


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """Run torch on one thread: with more, the tests of the methods took 3 times as long."""
    torch = sys.modules.get("torch")
    if torch is None:
        yield
        return
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def limit_rows(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """A function that sets the number of rows in one pass."""
    from unitrank_engine.job import batch_size

    return lambda rows: monkeypatch.setitem(batch_size.LIMITS, "cpu", (rows, rows))
