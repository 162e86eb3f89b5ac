"""Each byte of a shard is fetched once, while the cache has room."""

import random
from pathlib import Path

import pytest

from unitrank_store.blobs import range_cache
from unitrank_store.blobs.range_cache import RangeCache

CONTENT = random.Random(0).randbytes(10_000)


class Fetcher:
    """Returns the bytes of a range, and counts them."""

    def __init__(self) -> None:
        self.fetched: list[tuple[int, int]] = []

    def __call__(self, start: int, stop: int) -> bytes:
        self.fetched.append((start, stop))
        return CONTENT[start:stop]

    @property
    def bytes(self) -> int:
        return sum(stop - start for start, stop in self.fetched)


def test_ranges_when_read_again_then_are_fetched_once(tmp_path: Path) -> None:
    cache, fetch, generator = RangeCache(tmp_path, 10**6), Fetcher(), random.Random(1)
    touched: set[int] = set()
    for _ in range(300):
        start = generator.randrange(len(CONTENT))
        stop = min(start + generator.randrange(1, 400), len(CONTENT))
        assert cache.read(0, start, stop, fetch) == CONTENT[start:stop]
        touched |= set(range(start, stop))

    assert fetch.bytes == len(touched)
    assert list(tmp_path.iterdir()) == []


def test_range_when_part_of_it_is_known_then_only_the_gaps_are_fetched(tmp_path: Path) -> None:
    cache, fetch = RangeCache(tmp_path, 10**6), Fetcher()
    cache.read(0, 100, 200, fetch)
    cache.read(0, 300, 400, fetch)
    fetch.fetched.clear()

    assert cache.read(0, 50, 450, fetch) == CONTENT[50:450]
    assert fetch.fetched == [(50, 100), (200, 300), (400, 450)]


def test_cache_when_full_then_deletes_the_shard_that_was_not_used_longest(tmp_path: Path) -> None:
    cache, fetch = RangeCache(tmp_path, 2500), Fetcher()
    for shard in (0, 1, 0, 2):
        cache.read(shard, 0, 1000, fetch)
    fetch.fetched.clear()
    cache.read(0, 0, 1000, fetch)
    cache.read(2, 0, 1000, fetch)

    assert fetch.bytes == 0
    cache.read(1, 0, 1000, fetch)
    assert fetch.bytes == 1000


def test_shard_when_it_has_many_intervals_then_is_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(range_cache, "MOST_INTERVALS", 3)
    cache, fetch = RangeCache(tmp_path, 10**6), Fetcher()
    for start in (0, 20, 40, 60):
        assert cache.read(0, start, start + 10, fetch) == CONTENT[start : start + 10]
    fetch.fetched.clear()
    cache.read(0, 0, 10, fetch)

    assert fetch.fetched == [(0, 10)]


def test_disk_when_full_then_ranges_are_fetched_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int, content: bytes, offset: int) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.pwrite", full)
    cache, fetch = RangeCache(tmp_path, 10**6), Fetcher()

    assert cache.read(0, 0, 10, fetch) == cache.read(0, 0, 10, fetch) == CONTENT[:10]
    assert fetch.bytes == 20
