"""The server's memory, and what depends on it, also where an ACL forbids INFO."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from tests.support.servers.redis_server import with_user
from unitrank_store.blobs.blob_store import BlobStore
from unitrank_store.redis.connection import connect
from unitrank_store.redis.memory import REUSE_SECONDS, RecentMemory, memory
from unitrank_store.redis.permissions import acl_command
from unitrank_store.results.part_cache import PartCache
from unitrank_store.results.result_store import ResultStore
from unitrank_store.settings import Settings
from unitrank_tables.sizes import GiB

RULES = acl_command().partition(">PASSWORD ")[2]


@pytest.fixture
def without_info(connection: redis.Redis, redis_url: str) -> Iterator[redis.Redis]:
    """A client whose user may do everything that Unitrank needs, but not INFO."""
    with connect(with_user(redis_url, connection, f"{RULES} -info")) as client:
        yield client
    connection.acl_deluser("unitrank")


def test_memory_when_info_is_allowed_then_is_that_of_the_server(connection: redis.Redis) -> None:
    server = memory(connection)

    assert server is not None
    assert 0 < server.used < server.limit == connection.info("memory")["maxmemory"]


def test_memory_when_info_is_forbidden_then_is_unknown(without_info: redis.Redis) -> None:
    assert memory(without_info) is None


def test_recent_memory_when_it_has_room_then_is_read_again_only_after_its_time(connection: redis.Redis) -> None:
    limit, now = connection.info("memory")["maxmemory"], 0.0
    recent = RecentMemory(connection, lambda: now)
    first = recent.read()
    connection.config_set("maxmemory", limit // 2)
    try:
        early = recent.read()
        now = REUSE_SECONDS
        late = recent.read()
    finally:
        connection.config_set("maxmemory", limit)
    assert first is not None
    assert late is not None

    assert early == first
    assert late.limit == limit // 2


def test_recent_memory_when_half_of_it_is_used_then_is_read_each_time(connection: redis.Redis) -> None:
    server = memory(connection)
    assert server is not None
    recent = RecentMemory(connection, lambda: 0.0)
    limits = [2 * server.used - 1024, 2 * server.used - 2048]
    readings = []
    try:
        for limit in limits:
            connection.config_set("maxmemory", limit)
            readings.append(recent.read())
    finally:
        connection.config_set("maxmemory", server.limit)

    assert [reading and reading.limit for reading in readings] == limits


def test_result_when_memory_is_unknown_then_is_stored_and_read(without_info: redis.Redis, tmp_path: Path) -> None:
    results = ResultStore(without_info, BlobStore((tmp_path / "blobs").as_uri()), Settings())
    results.require_room(2**10 * GiB)
    location = results.put({"job": "1"}, {})

    assert results.summary(location) == {"job": "1"}


def test_part_when_memory_is_unknown_then_is_not_kept(without_info: redis.Redis, connection: redis.Redis) -> None:
    for client in (without_info, connection):
        PartCache(client, Settings()).put({"one:a": b"bytes"})
        kept = PartCache(connection, Settings()).get(["one:a"])

        assert list(kept) == ([] if client is without_info else ["one:a"])
