"""Parts of a job: small ones of a short job are written after its end, all others at once."""

import pytest
import redis

from unitrank_store.results.part_cache import PartCache, TenantPartCache
from unitrank_store.settings import Settings
from unitrank_worker.attempts.part_exchange import SHORT_SECONDS, UNWRITTEN_BYTES, PartExchange
from unitrank_worker.process.channel import Message


@pytest.fixture
def parts(connection: redis.Redis) -> TenantPartCache:
    return PartCache(connection, Settings()).of("default")


def part(fingerprint: str, data: bytes = b"part") -> Message:
    return Message({"keep_part": fingerprint}, data)


def test_parts_of_a_short_job_when_kept_then_are_written_at_its_end(parts: TenantPartCache) -> None:
    exchange = PartExchange(parts, lambda: 0.0)
    for fingerprint in "ab":
        exchange.keep(part(fingerprint))
    before = parts.get(["a", "b"])
    exchange.write()

    assert before == {}
    assert parts.get(["a", "b"]) == {"a": b"part", "b": b"part"}


def test_part_of_a_long_job_when_kept_then_is_written_at_once(parts: TenantPartCache) -> None:
    times = iter([0.0, SHORT_SECONDS + 0.01])
    PartExchange(parts, lambda: next(times)).keep(part("a"))

    assert parts.get(["a"]) == {"a": b"part"}


def test_parts_when_large_then_are_written_at_once(parts: TenantPartCache) -> None:
    exchange = PartExchange(parts, lambda: 0.0)
    exchange.keep(part("a"))
    exchange.keep(part("b", bytes(UNWRITTEN_BYTES)))

    assert parts.get(["a", "b"]).keys() == {"a", "b"}


def test_part_when_the_child_asks_for_it_then_is_found_before_the_end(parts: TenantPartCache) -> None:
    exchange = PartExchange(parts, lambda: 0.0)
    exchange.keep(part("a"))

    assert exchange.find(Message({"find_parts": ["a", "b"]})) == Message({"parts": [["a", 4]]}, b"part")
