"""A table with digests verifies the chunks that it reads, and no others."""

import hashlib
import io
import os
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save

from unitrank_tables import ChunkDigests, VerifiedChunks, chunk_digests, open_table
from unitrank_tables.chunk_digests import CHUNK_BYTES, ChunkHasher
from unitrank_tables.errors import BadTable

ROW = 1024
ROWS = 5 * CHUNK_BYTES // ROW


def digests_of(path: Path) -> ChunkDigests:
    """The digests, computed from the whole content at once."""
    content = path.read_bytes()
    chunks = [content[start : start + CHUNK_BYTES] for start in range(0, len(content), CHUNK_BYTES)]
    whole, *parts = (hashlib.sha256(data).hexdigest() for data in (content, *chunks))
    return ChunkDigests(f"sha256:{whole}", len(content), tuple(parts))


@cache
def content_of(kind: str) -> bytes:
    """A table of more than 5 chunks: `x` with random rows of 1 KiB, and `y` with a number a row."""
    random = np.random.default_rng(0)
    fields = {"x": random.integers(0, 255, (ROWS, ROW), dtype=np.uint8), "y": np.arange(ROWS)}
    if kind == "safetensors":
        return save(fields)
    sink = io.BytesIO()
    (np.savez if kind == "npz" else np.savez_compressed)(sink, **fields)  # type: ignore[arg-type]
    return sink.getvalue()


@pytest.fixture(params=["npz", "packed", "safetensors"])
def table(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / "table"
    path.write_bytes(content_of(request.param))
    return path


def damage(path: Path, start: int, stop: int) -> None:
    """Change these bytes in place, as a failing disk does."""
    with path.open("r+b") as file:
        file.seek(start)
        content = file.read(stop - start)
        file.seek(start)
        file.write(bytes(byte ^ 255 for byte in content))


def read_all(path: Path, digests: ChunkDigests) -> None:
    with open_table(path, digests=digests) as opened:
        for field in opened.fields:
            opened.read(field, slice(None))


@pytest.mark.parametrize("piece", [1000, CHUNK_BYTES, 3 * CHUNK_BYTES])
def test_hasher_when_given_pieces_then_gives_the_digests_of_the_whole_content(table: Path, piece: int) -> None:
    hasher, content = ChunkHasher(), table.read_bytes()
    for start in range(0, len(content), piece):
        hasher.update(content[start : start + piece])
    expected = digests_of(table)

    assert hasher.digests(expected.digest) == expected


def test_digests_when_written_and_read_then_are_equal(table: Path) -> None:
    digests = digests_of(table)

    assert ChunkDigests.from_bytes(digests.to_bytes()) == ChunkDigests.from_json(digests.to_json()) == digests


@pytest.mark.parametrize("damaged", [b"", b"\0" * 99, b"{}", b"cut short", b"another byte"])
def test_digests_when_damaged_then_are_not_read(table: Path, damaged: bytes) -> None:
    content = digests_of(table).to_bytes()
    damaged = {b"cut short": content[:-9], b"another byte": content.replace(b"[", b" ")}.get(damaged, damaged)

    with pytest.raises(ValueError, match="damaged"):
        ChunkDigests.from_bytes(damaged)


@pytest.mark.parametrize("rows", [slice(0, 10), slice(None), [0, ROWS - 1], [-1, 7], slice(10, 0, -3)])
def test_rows_when_the_table_is_intact_then_are_as_without_digests(table: Path, rows: slice | list[int]) -> None:
    with open_table(table) as plain, open_table(table, digests=digests_of(table)) as verified:
        assert np.array_equal(plain.read("x", rows), verified.read("x", rows))


@pytest.mark.parametrize("table", ["npz", "safetensors"], indirect=True)
def test_rows_when_another_chunk_is_damaged_then_are_read(table: Path) -> None:
    digests = digests_of(table)
    damage(table, 2 * CHUNK_BYTES + 1000, 2 * CHUNK_BYTES + 5000)
    row = 2 * CHUNK_BYTES // ROW

    with open_table(table, digests=digests) as opened:
        # In the safetensors file, `y` is before `x` and takes 160 KiB.
        assert len(opened.read("x", slice(0, row - 200))) == row - 200
        assert len(opened.read("x", [0, -1])) == 2
        assert opened.distinct("y", 3) == [0, 1, 2]
        for rows in (slice(row, row + 1), [0, row + 2], slice(None), slice(ROWS, 0, -1)):
            with pytest.raises(BadTable, match=r"bytes 8388608 to 12582912 have changed; upload the dataset again") as error:
                opened.read("x", rows)
            assert error.value.code == "dataset_corrupt"


def test_table_when_bytes_that_it_reads_are_damaged_then_is_corrupt(table: Path) -> None:
    """The header, the data, the end with an npz's directory, and a file that is cut short."""
    content, digests = table.read_bytes(), digests_of(table)
    size = len(content)
    for start, stop in ((0, 10), (size // 2, size // 2 + 4000), (size - 40, size)):
        damage(table, start, stop)
        with pytest.raises(BadTable) as error:
            read_all(table, digests)
        assert error.value.code == "dataset_corrupt"
        table.write_bytes(content)
    os.truncate(table, size - 1)
    with pytest.raises(BadTable, match=f"the file has {size - 1} bytes, and needs {size}"):
        open_table(table, digests=digests)


@pytest.mark.parametrize("table", ["npz"], indirect=True)
def test_table_when_two_chunks_are_swapped_then_is_corrupt(table: Path) -> None:
    content, digests = table.read_bytes(), digests_of(table)
    first, second, rest = content[:CHUNK_BYTES], content[CHUNK_BYTES : 2 * CHUNK_BYTES], content[2 * CHUNK_BYTES :]
    table.write_bytes(second + first + rest)

    with pytest.raises(BadTable, match="have changed"):
        open_table(table, digests=digests)


@pytest.mark.parametrize("table", ["npz"], indirect=True)
def test_chunk_when_it_was_verified_then_is_hashed_again_only_after_a_change(table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    digests, verified, hashed = digests_of(table), VerifiedChunks(), []
    sha256 = hashlib.sha256
    monkeypatch.setattr(chunk_digests.hashlib, "sha256", lambda data: hashed.append(len(data)) or sha256(data))

    def read() -> int:
        hashed.clear()
        with open_table(table, digests=digests, verified=verified) as opened:
            opened.read("x", slice(None))
        return len(hashed)

    assert (read(), read()) == (len(digests.chunks), 0)
    os.utime(table, (1, 1))
    assert read() > 0


@pytest.mark.parametrize("table", ["npz"], indirect=True)
def test_chunk_when_its_file_is_changed_and_the_time_set_back_then_is_corrupt(table: Path) -> None:
    digests, verified = digests_of(table), VerifiedChunks()
    with open_table(table, digests=digests, verified=verified) as opened:
        opened.read("x", slice(None))
    before = table.stat()
    damage(table, CHUNK_BYTES, CHUNK_BYTES + 4000)
    os.utime(table, ns=(before.st_atime_ns, before.st_mtime_ns))

    with open_table(table, digests=digests, verified=verified) as opened, pytest.raises(BadTable) as raised:
        opened.read("x", slice(None))
    assert raised.value.code == "dataset_corrupt"
