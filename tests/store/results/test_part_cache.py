"""Parts of results on a real store: lost and damaged parts are absent, and no error is raised."""

from collections.abc import Iterator

import numpy as np
import pytest
import redis

from unitrank_store.blobs.blob_store import BlobStore
from unitrank_store.errors import Full
from unitrank_store.redis import keyspace
from unitrank_store.redis.connection import connect
from unitrank_store.results.part_cache import HEAD, PartCache
from unitrank_store.results.result_store import ResultStore
from unitrank_store.settings import Settings
from unitrank_tables.part import Part, encode_part
from unitrank_tables.sizes import MiB

PART = encode_part(Part({"sums": np.arange(60.0)}, {"numbers": {"steps": 7}}))


def sized(size: int, value: float = 1.0) -> bytes:
    """Return an encoded part of about `size` bytes."""
    return encode_part(Part({"x": np.full(size // 8, value)}))


@pytest.fixture
def settings() -> Settings:
    return Settings(parts_bytes=16 * MiB, result_ttl=600)


@pytest.fixture
def parts(connection: redis.Redis, settings: Settings) -> PartCache:
    return PartCache(connection, settings)


@pytest.fixture
def limited(connection: redis.Redis) -> Iterator[redis.Redis]:
    """The server; its memory limit is restored after the test."""
    before = str(connection.config_get("maxmemory")["maxmemory"])
    yield connection
    connection.config_set("maxmemory", before)


def stored(connection: redis.Redis) -> int:
    """Return the bytes that all parts count for."""
    return int(connection.hget(keyspace.part_sizes(), "") or 0)  # type: ignore[arg-type]


@pytest.mark.parametrize("part", [PART, encode_part(Part()), sized(HEAD), sized(HEAD - 104), sized(3 * MiB + 24)])
def test_part_when_put_then_is_read_bit_for_bit(parts: PartCache, part: bytes) -> None:
    parts.of("one").put({"a": part, "b": PART})
    stored_parts = parts.of("one").get(["b", "none", "a"])

    assert set(stored_parts) == {"a", "b"}
    assert stored_parts["a"] == part
    assert stored_parts["b"] == PART


def test_head_when_the_bytes_just_fill_it_then_nothing_is_missing(parts: PartCache) -> None:
    for size in range(HEAD - 240, HEAD, 8):
        parts.put({"a": sized(size)})

        assert parts.get(["a"])["a"] == sized(size)


def test_parts_of_another_tenant_are_not_read(parts: PartCache) -> None:
    parts.of("one").put({"a": PART})

    assert parts.of("two").get(["a"]) == {}


def test_parts_when_fresh_then_none_is_read_and_new_ones_are_stored(parts: PartCache) -> None:
    parts.of("one").put({"a": sized(80, 1.0)})
    fresh = parts.of("one", fresh=True)

    assert fresh.get(["a"]) == {}
    fresh.put({"a": sized(80, 2.0)})
    assert parts.of("one").get(["a"])["a"] == sized(80, 2.0)


def test_parts_when_many_are_requested_then_all_are_read(parts: PartCache) -> None:
    many = {str(index): sized(80, index) for index in range(100)}
    parts.put(many)

    assert parts.get(list(many)).keys() == many.keys()
    assert parts.get([]) == {}


@pytest.mark.parametrize("damage", ["head", "head cut", "head empty", "piece", "piece missing", "piece too many"])
def test_part_when_damaged_then_is_absent(parts: PartCache, connection: redis.Redis, damage: str) -> None:
    parts.put({"a": sized(3 * MiB), "b": PART})
    head, piece = keyspace.part("a"), keyspace.part_piece("a", 1)
    changes = {
        "head": lambda: connection.setrange(head, 99, b"!"),
        "head cut": lambda: connection.set(head, bytes(connection.get(head) or b"")[:40]),  # type: ignore[arg-type]
        "head empty": lambda: connection.set(head, b""),
        "piece": lambda: connection.setrange(piece, 9, b"!"),
        "piece missing": lambda: connection.delete(piece),
        "piece too many": lambda: connection.set(keyspace.part_piece("a", 3), b"!"),
    }
    changes[damage]()

    assert list(parts.get(["a", "b"])) == ["b"]


def test_parts_when_expired_then_are_deleted_and_not_counted(connection: redis.Redis, settings: Settings) -> None:
    parts = PartCache(connection, settings)
    parts.put({"a": sized(3 * MiB)})

    assert 0 < min(connection.ttl(keyspace.part("a")), connection.ttl(keyspace.part_piece("a", 2))) <= 600  # type: ignore[type-var]
    connection.zadd(keyspace.part_ages(), {"a": 1.0})
    parts.put({"b": PART})
    assert list(parts.get(["a", "b"])) == ["b"]
    assert stored(connection) == len(PART) + 1024


def test_parts_when_they_exceed_the_limit_then_the_oldest_are_deleted(parts: PartCache, connection: redis.Redis) -> None:
    for index in range(9):
        parts.put({str(index): sized(3 * MiB, index)})

    assert list(parts.get([str(index) for index in range(9)])) == ["4", "5", "6", "7", "8"]
    assert stored(connection) <= 16 * MiB
    assert len(connection.keys(keyspace.part("*"))) == 5 * 4


def test_part_when_put_again_then_is_counted_once(parts: PartCache, connection: redis.Redis) -> None:
    parts.put({"a": sized(3 * MiB)})
    parts.put({"a": sized(80)})

    assert stored(connection) == len(sized(80)) + 1024
    assert parts.get(["a"])["a"] == sized(80)
    assert connection.keys(keyspace.part("a:*")) == []


def test_part_when_it_is_more_than_a_quarter_of_all_then_it_is_not_kept(parts: PartCache, connection: redis.Redis) -> None:
    parts.put({"large": sized(5 * MiB), "small": PART})

    assert list(parts.get(["large", "small"])) == ["small"]


def test_parts_when_the_limit_is_zero_then_none_is_kept(connection: redis.Redis) -> None:
    parts = PartCache(connection, Settings(parts_bytes=0))
    parts.put({"a": PART})

    assert parts.get(["a"]) == {}
    assert connection.keys("*") == []


def test_parts_when_the_servers_memory_is_short_then_they_are_not_kept(parts: PartCache, limited: redis.Redis) -> None:
    used = int(limited.info("memory")["used_memory"])
    limited.config_set("maxmemory", int(used / 0.7) + 2 * MiB)
    parts.put({"large": sized(4 * MiB - 1024)})

    assert parts.get(["large"]) == {}
    assert stored(limited) == 0


def test_result_when_it_needs_room_then_parts_are_deleted(limited: redis.Redis, blobs: BlobStore, settings: Settings) -> None:
    parts, results = PartCache(limited, settings), ResultStore(limited, blobs, settings)
    for index in range(4):
        parts.put({str(index): sized(3 * MiB, index)})
    used = int(limited.info("memory")["used_memory"])
    limited.config_set("maxmemory", int((used + MiB) / 0.9))

    results.require_room(5 * MiB)
    assert list(parts.get(["0", "1", "2", "3"])) == ["2", "3"]
    with pytest.raises(Full):
        results.require_room(500 * MiB)
    assert list(parts.get(["2", "3"])) == ["2", "3"]


def test_parts_when_the_store_does_not_answer_then_none_is_read_and_nothing_is_raised() -> None:
    with connect("redis://127.0.0.1:1", 0) as nowhere:
        parts = PartCache(nowhere, Settings())
        parts.put({"a": PART})

        assert parts.get(["a"]) == {}


@pytest.fixture
def blobs(tmp_path_factory: pytest.TempPathFactory) -> BlobStore:
    return BlobStore((tmp_path_factory.mktemp("blobs")).as_uri())
