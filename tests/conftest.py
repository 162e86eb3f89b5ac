"""A real store for every test that asks for one."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from store.connection import connect
from store.embedded import EmbeddedServer, find_server
from store.errors import Embedded


@pytest.fixture(scope="session")
def server() -> Iterator[EmbeddedServer]:
    """The session's server; skipped without a binary, which is a failure where CI is set."""
    try:
        find_server()
    except Embedded as error:
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
