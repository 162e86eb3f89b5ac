"""Contents in chunks on a real store."""

import pytest
import redis

from unitrank_store.blobs.digests import digest_of
from unitrank_store.errors import Corrupt, RecordNotFound
from unitrank_store.redis import keyspace
from unitrank_store.results.chunks import CHUNK, ChunkStore

DATA = bytes(range(256)) * (CHUNK // 256 * 2) + b"the rest"


@pytest.fixture
def chunks(connection: redis.Redis) -> ChunkStore:
    return ChunkStore(connection)


def lifetimes(connection: redis.Redis) -> list[int]:
    """Return the seconds until each key of the store expires."""
    return [connection.ttl(name) for name in connection.keys("*")]


@pytest.mark.parametrize("data", [b"", b"x", DATA[:CHUNK], DATA[: CHUNK + 1], DATA], ids=len)
def test_get_returns_what_was_put(chunks: ChunkStore, data: bytes) -> None:
    digest = chunks.put(data, 60, owner="a")

    assert digest == digest_of(data)
    assert chunks.get(digest) == data
    assert all(len(chunk) <= CHUNK for chunk in chunks.iterate(digest))


def test_every_key_expires(chunks: ChunkStore, connection: redis.Redis) -> None:
    chunks.put(DATA, 60, owner="a")

    assert len(lifetimes(connection)) == 5
    assert all(50 < seconds <= 61 for seconds in lifetimes(connection))


def test_put_of_equal_bytes_stores_them_once_for_the_longer_time(chunks: ChunkStore, connection: redis.Redis) -> None:
    for owner, seconds in (("a", 60), ("b", 6000), ("c", 60), ("b", 10)):
        chunks.put(DATA, seconds, owner=owner)

    assert len(lifetimes(connection)) == 5
    assert all(5900 < seconds <= 6001 for seconds in lifetimes(connection))


def test_drop_when_another_owner_is_left_keeps_the_bytes(chunks: ChunkStore, connection: redis.Redis) -> None:
    digest = chunks.put(DATA, 60, owner="a")
    chunks.put(DATA, 60, owner="b")
    chunks.drop(digest, len(DATA), owner="a")
    chunks.drop(digest, len(DATA), owner="a")

    assert chunks.get(digest) == DATA

    chunks.drop(digest, len(DATA), owner="b")
    assert connection.keys("*") == []


def test_drop_when_the_other_owner_has_expired_removes_the_bytes(chunks: ChunkStore, connection: redis.Redis) -> None:
    digest = chunks.put(DATA, 60, owner="a")
    chunks.put(DATA, 60, owner="b")
    connection.zadd(keyspace.chunk_owners(digest), {"b": 1})
    chunks.drop(digest, len(DATA), owner="a")

    assert connection.keys("*") == []


def test_get_of_nothing_is_not_found_at_once(chunks: ChunkStore) -> None:
    for ask in (chunks.get, chunks.iterate):
        with pytest.raises(RecordNotFound, match="expired"):
            ask(digest_of(b"never"))


@pytest.mark.parametrize("owner_before", [True, False])
def test_put_that_fails_midway_leaves_nothing_of_its_own(
    chunks: ChunkStore, connection: redis.Redis, monkeypatch: pytest.MonkeyPatch, owner_before: bool
) -> None:
    if owner_before:
        chunks.put(DATA, 60, owner="before")
        connection.hdel(keyspace.chunked(digest_of(DATA)), "complete")
    before = len(connection.keys("*"))
    write = connection.set

    def fails(name: str, *arguments: object, **options: object) -> object:
        if name.endswith(":1"):
            raise redis.ConnectionError("cut")
        return write(name, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(connection, "set", fails)
    with pytest.raises(redis.ConnectionError, match="cut"):
        chunks.put(DATA, 60, owner="a")

    assert len(connection.keys("*")) == before


def test_put_after_an_unfinished_one_writes_all(chunks: ChunkStore, connection: redis.Redis) -> None:
    digest = chunks.put(DATA, 60, owner="a")
    connection.hdel(keyspace.chunked(digest), "complete")
    connection.delete(keyspace.chunk(digest, 1))

    with pytest.raises(RecordNotFound):
        chunks.get(digest)
    assert chunks.get(chunks.put(DATA, 60, owner="b")) == DATA


def test_get_when_bytes_were_changed_or_lost_is_corrupt(chunks: ChunkStore, connection: redis.Redis) -> None:
    digest = chunks.put(DATA, 60, owner="a")
    connection.setrange(keyspace.chunk(digest, 2), 0, b"T")
    with pytest.raises(Corrupt, match=digest):
        chunks.get(digest)

    connection.delete(keyspace.chunk(digest, 1))
    with pytest.raises(Corrupt, match="chunk 1 of 3"):
        chunks.get(digest)
