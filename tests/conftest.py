"""Fixtures with a real Redis or Valkey server."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from tests.support import type_checks
from unitrank_store.errors import EmbeddedServerFailed
from unitrank_store.redis import embedded
from unitrank_store.redis.connection import connect
from unitrank_store.redis.embedded import EmbeddedServer

type_checks.check_shapes_less_often()

CHOICE = "UNITRANK_TEST_SERVER"
"""Name of the server on PATH to test on: `redis-server` or `valkey-server`.

By default the tests use the server that `unitrank up` would use.
"""


@pytest.fixture(scope="session", autouse=True)
def chosen_server() -> Iterator[None]:
    """All embedded servers of the test process run the chosen program."""
    name = os.environ.get(CHOICE)
    with pytest.MonkeyPatch.context() as patch:
        if name:
            patch.setattr(embedded, "find_server", lambda: _on_path(name))
        yield


def _on_path(name: str) -> Path:
    program = shutil.which(name)
    if program is None:
        raise EmbeddedServerFailed(f"{CHOICE} is {name!r}, which is not on PATH; set it to redis-server or valkey-server")
    return Path(program)


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all processes of this test run share."""
    folder = tmp_path_factory.getbasetemp()
    return folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder


@pytest.fixture(scope="session")
def server(chosen_server: None) -> Iterator[EmbeddedServer]:
    """The server of the session.

    Without a program the tests are skipped, or fail where CI is set.
    """
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
    """The URL of an empty store."""
    with connect(server.url) as client:
        client.flushall()
    return server.url


@pytest.fixture
def connection(redis_url: str) -> Iterator[redis.Redis]:
    """A client of an empty store."""
    with connect(redis_url) as client:
        yield client


def pytest_runtest_setup() -> None:
    """Each test has the checks of its first calls."""
    type_checks.begin_test()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark each test that must run alone for `make check`."""
    for item in items:
        if item.get_closest_marker("serial"):
            item.add_marker("check")
