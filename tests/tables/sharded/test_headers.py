"""The headers of shards are read in place, and forged ones are rejected before any row is read."""

import json
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from tests.tables.sharded.conftest import header, read_bytes, sharded
from unitrank_tables import open_table
from unitrank_tables.errors import BadTable
from unitrank_tables.sharded.headers import PAGE, ShardFile, index_of, read_shard_header
from unitrank_tables.sharded.index import MAGIC, ShardEntry, ShardIndex


def npz(path: Path, **fields: np.ndarray) -> Path:
    with path.open("wb") as file:
        np.savez(file, **fields)
    return path


def code(path: Path) -> str:
    with pytest.raises(BadTable) as caught:
        header(path)
    assert path.name in caught.value.detail
    return caught.value.code


def test_header_when_the_shard_is_large_then_reads_some_kib_of_it(tmp_path: Path) -> None:
    path = npz(tmp_path / "a.npz", x=np.zeros((1000, 1000), np.float32), y=np.zeros(1000))
    read: list[int] = []

    def counted(start: int, stop: int) -> bytes:
        read.append(stop - start)
        return read_bytes(path, start, stop)

    read_shard_header(ShardFile("a", path.stat().st_size, "1", counted))
    assert sum(read) <= 10 * PAGE


@pytest.mark.parametrize("compressed", [True, False], ids=["compressed", "Fortran order"])
def test_header_when_rows_are_not_contiguous_bytes_then_has_no_entry(tmp_path: Path, compressed: bool) -> None:
    rows = np.asfortranarray(np.ones((4, 3)))
    if compressed:
        np.savez_compressed(tmp_path / "a.npz", x=rows)
    else:
        npz(tmp_path / "a.npz", x=rows)
    npz(tmp_path / "b.npz", x=np.ones((2, 3)))
    headers = [header(tmp_path / name) for name in ("b.npz", "a.npz")]

    assert headers[1].entry is None
    assert headers[0].fields == headers[1].fields
    assert index_of(headers) is None


def test_index_when_fields_differ_then_names_both_shards(tmp_path: Path) -> None:
    headers = [header(npz(tmp_path / name, x=rows)) for name, rows in (("a", np.ones((2, 3))), ("b", np.ones((2, 4))))]

    with pytest.raises(BadTable) as caught:
        index_of(headers)
    assert caught.value.code == "unequal_shards"
    assert "'a'" in caught.value.detail
    assert "'b'" in caught.value.detail


def test_index_when_written_then_is_read_back_and_is_no_table_by_itself(tmp_path: Path) -> None:
    entry = ShardEntry("s3://sets/é.npz", 100, 'etag "1"', 3, {"x": ("<f4", 64)})
    index = ShardIndex({"x": {"dtype": "float32", "shape": [None, 2]}}, [entry, ShardEntry("b", 9, "2", 4, {}, b"footer")])

    assert ShardIndex.from_bytes(index.to_bytes()) == index
    assert index.to_bytes() == index.to_bytes()
    assert (index.rows, index.stored_bytes) == (7, 109)
    (tmp_path / "index").write_bytes(index.to_bytes())
    with pytest.raises(BadTable) as caught:
        open_table(tmp_path / "index")
    assert caught.value.code == "not_a_table"
    assert index.to_bytes().startswith(MAGIC)


def test_index_when_it_is_long_then_has_nothing_for_each_row(tmp_path: Path) -> None:
    entries = [ShardEntry(f"s3://sets/part-{number:05}.npz", 10**9, "etag 1", 10**8, {"x": ("<f4", 64)}) for number in range(10)]
    index = ShardIndex({"x": {"dtype": "float32", "shape": [None]}}, entries)

    assert index.rows == 10**9
    assert len(index.to_bytes()) < 2000


def test_bfloat16_when_in_shards_then_is_widened(tmp_path: Path) -> None:
    rows = torch.tensor([[1.5, -2.0], [3.0, 0.25]], dtype=torch.bfloat16)
    save_file({"x": rows}, tmp_path / "a.safetensors")
    table, _ = sharded([tmp_path / "a.safetensors"])

    assert table.read("x", slice(None)).tolist() == [[1.5, -2.0], [3.0, 0.25]]
    assert table.fields["x"]["dtype"] == "float32"


def forged_npz(path: Path, shape: str) -> Path:
    """An npz whose array claims another shape than it has."""
    npz(path, x=np.ones((4, 3)))
    content = path.read_bytes()
    path.write_bytes(content.replace(b"(4, 3)", shape.encode().ljust(6)[:6]))
    return path


def forged_safetensors(path: Path, **entries: object) -> Path:
    text = json.dumps(entries).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(16))
    return path


def test_header_when_forged_then_is_rejected(tmp_path: Path) -> None:
    f32 = {"dtype": "F32", "shape": [2, 2]}
    cases = {
        "too-many-rows": (forged_npz(tmp_path / "a", "(9, 3)"), "header_mismatch"),
        "negative": (forged_npz(tmp_path / "b", "(-4,3)"), "header_mismatch"),
        "beyond": (forged_safetensors(tmp_path / "c", x={**f32, "shape": [200, 2], "data_offsets": [0, 1600]}), "header_mismatch"),
        "below": (forged_safetensors(tmp_path / "d", x={**f32, "data_offsets": [-16, 0]}), "header_mismatch"),
        "overlap": (
            forged_safetensors(tmp_path / "e", x={**f32, "data_offsets": [0, 16]}, y={**f32, "data_offsets": [0, 16]}),
            "header_mismatch",
        ),
        "long-header": (tmp_path / "f", "header_mismatch"),
        "junk": (tmp_path / "g", "not_a_table"),
        "empty": (tmp_path / "h", "not_a_table"),
        "index": (tmp_path / "i", "not_a_table"),
        "no-rows": (npz(tmp_path / "j", x=np.ones((0, 3))), "no_examples"),
    }
    (tmp_path / "f").write_bytes(struct.pack("<Q", 2**62) + b"{}")
    (tmp_path / "g").write_bytes(b"junk" * 100)
    (tmp_path / "h").write_bytes(b"")
    (tmp_path / "i").write_bytes(ShardIndex({}, [ShardEntry("file:///etc/passwd", 9, "1", 3)]).to_bytes())

    assert {name: code(path) for name, (path, _) in cases.items()} == {name: expected for name, (_, expected) in cases.items()}
