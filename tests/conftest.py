"""A real store for every test that asks for one."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from unitrank_store.errors import EmbeddedServerFailed
from unitrank_store.redis import embedded
from unitrank_store.redis.connection import connect
from unitrank_store.redis.embedded import EmbeddedServer

CHOICE = "UNITRANK_TEST_SERVER"
"""`redis-server` or `valkey-server`, to test on that one of PATH; without it on the one that `unitrank up` would take."""


@pytest.fixture(scope="session", autouse=True)
def chosen_server() -> Iterator[None]:
    """Every server that a test starts in its own process is the chosen one."""
    name = os.environ.get(CHOICE)
    with pytest.MonkeyPatch.context() as patch:
        if name:
            patch.setattr(embedded, "find_server", lambda: _on_path(name))
        yield


def _on_path(name: str) -> Path:
    program = shutil.which(name)
    if program is None:
        raise EmbeddedServerFailed(f"{CHOICE} names {name}, which is not on PATH")
    return Path(program)


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all processes of this run share."""
    folder = tmp_path_factory.getbasetemp()
    return folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder


@pytest.fixture(scope="session")
def server(chosen_server: None) -> Iterator[EmbeddedServer]:
    """The session's server; skipped without a binary, which is a failure where CI is set."""
    try:
        embedded.find_server()
    except EmbeddedServerFailed as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(f"no server to test on: {error}")
    with tempfile.TemporaryDirectory(prefix="unitrank-") as state, EmbeddedServer(Path(state)) as running:
        yield running


@pytest.fixture
def redis_url(server: EmbeddedServer) -> str:
    """The address of a store with nothing in it."""
    with connect(server.url) as client:
        client.flushall()
    return server.url


@pytest.fixture
def connection(redis_url: str) -> Iterator[redis.Redis]:
    """A client of a store with nothing in it."""
    with connect(redis_url) as client:
        yield client


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A test that runs alone belongs to `make check`."""
    for item in items:
        if item.get_closest_marker("serial"):
            item.add_marker("check")
