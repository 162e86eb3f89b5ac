"""Reads of shards on an S3 server: few bytes, the right rows, and an error for a changed shard."""

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest

from tests.support.servers.remote_sources import Bucket, s3
from unitrank_store.blobs.pinned_files import pinned
from unitrank_store.blobs.shard_reader import ShardReader
from unitrank_store.blobs.sources import Sources
from unitrank_store.errors import BadSource, ShardChanged
from unitrank_tables.sharded.headers import ShardFile, index_of, read_shard_header
from unitrank_tables.sharded.index import ShardIndex
from unitrank_tables.sharded.ranges import ByteRange
from unitrank_tables.sharded.table import ShardedTable

WIDTH = 64
ROW_BYTES = 4 * WIDTH
SOURCES = Sources(["s3://sets/"])


@pytest.fixture(scope="module")
def bucket() -> Iterator[Bucket]:
    with s3() as bucket, pytest.MonkeyPatch.context() as patch:
        for name, value in bucket.environment.items():
            patch.setenv(name, value)
        yield bucket


def put(bucket: Bucket, folder: str, shards: int, rows: int) -> np.ndarray:
    """Put shards into a folder of the bucket; returns all their rows."""
    parts = [np.random.default_rng(number).normal(size=(rows, WIDTH)).astype(np.float32) for number in range(shards)]
    for number, part in enumerate(parts):
        file = BytesIO()
        np.savez(file, x=part)
        bucket.put(f"{folder}/part-{number:03}.npz", file.getvalue())
    return np.concatenate(parts)


def indexed(folder: str) -> ShardIndex:
    headers = []
    for source in SOURCES.files(f"s3://sets/{folder}/part-*.npz"):
        file = pinned(source)
        state = file.state()
        read = lambda start, stop, file=file, state=state: file.read(start, stop, state)  # noqa: E731
        headers.append(read_shard_header(ShardFile(source.name, state.size, state.pin, read)))
    index = index_of(headers)
    assert index is not None
    return index


@pytest.mark.slow
def test_rows_when_of_many_shards_then_few_more_bytes_than_theirs_are_read(bucket: Bucket, tmp_path: Path) -> None:
    rows = put(bucket, "many", shards=200, rows=50)
    index = indexed("many")
    picked = np.random.default_rng(0).choice(len(rows), 500, replace=False)
    bucket.reads.clear()
    with ShardedTable(index, ShardReader(index, SOURCES, tmp_path)) as table:
        for _ in range(3):
            for start in range(0, 500, 100):
                assert np.array_equal(table.read("x", picked[start : start + 100]), rows[picked[start : start + 100]])

    assert bucket.bytes_read <= 1.1 * 500 * ROW_BYTES


@pytest.mark.check
def test_rows_when_all_are_read_in_batches_several_times_then_each_byte_is_read_once(bucket: Bucket, tmp_path: Path) -> None:
    rows = put(bucket, "few", shards=3, rows=5000)
    index = indexed("few")
    bucket.reads.clear()
    with ShardedTable(index, ShardReader(index, SOURCES, tmp_path)) as table:
        for _ in range(2):
            for start in range(0, len(rows), 256):
                assert np.array_equal(table.read("x", slice(start, start + 256)), rows[start : start + 256])

    assert rows.nbytes <= bucket.bytes_read <= 1.1 * rows.nbytes


def test_cache_when_it_has_no_room_then_rows_are_right(bucket: Bucket, tmp_path: Path) -> None:
    rows = put(bucket, "uncached", shards=2, rows=500)
    index = indexed("uncached")
    with ShardedTable(index, ShardReader(index, SOURCES, tmp_path, cache_bytes=0)) as table:
        for _ in range(2):
            assert np.array_equal(table.read("x", slice(None)), rows)


def test_shard_when_it_is_replaced_or_deleted_then_its_rows_are_errors(bucket: Bucket, tmp_path: Path) -> None:
    rows = put(bucket, "changing", shards=3, rows=100)
    index = indexed("changing")
    with ShardedTable(index, ShardReader(index, SOURCES, tmp_path)) as table:
        table.read("x", slice(0, 10))
        put(bucket, "changing", shards=1, rows=101)
        bucket.delete("changing/part-002.npz")

        assert np.array_equal(table.read("x", slice(0, 10)), rows[:10])
        with pytest.raises(ShardChanged) as caught:
            table.read("x", slice(10, 20))
        assert "part-000.npz" in caught.value.detail
        assert np.array_equal(table.read("x", slice(100, 200)), rows[100:200])
        with pytest.raises(BadSource) as missing:
            table.read("x", slice(200, 210))
        assert (missing.value.code, "part-002.npz" in missing.value.detail) == ("uri_not_found", True)


@pytest.mark.parametrize(
    "bad_range",
    [ByteRange(-1, 0, 1), ByteRange(9, 0, 1), ByteRange(0, -1, 1), ByteRange(0, 5, 4), ByteRange(0, 0, 10**9)],
    ids=str,
)
def test_range_when_outside_of_the_shards_then_is_rejected(bucket: Bucket, tmp_path: Path, bad_range: ByteRange) -> None:
    put(bucket, "small", shards=1, rows=2)

    with pytest.raises(ValueError, match="range"):
        ShardReader(indexed("small"), SOURCES, tmp_path).read([bad_range])
