"""Joining several tables into one."""

import io
import os
import resource
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from unitrank_tables import Shard, join, open_table
from unitrank_tables.errors import BadTable
from unitrank_tables.shards import BLOCK
from unitrank_tables.sizes import GiB, MiB


def shard(path: Path, **fields: Any) -> Path:
    with path.open("wb") as file:
        np.savez(file, **fields)
    return path


def joined(*paths: Path, limit: int = GiB) -> bytes:
    sink = io.BytesIO()
    join([Shard(path.name, path) for path in paths], sink, limit)
    return sink.getvalue()


def test_join_when_shards_are_alike_then_their_rows_follow_each_other(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 255, (7, 2, 3), dtype=np.uint8)
    one = shard(tmp_path / "one.npz", x=images[:4], y=np.arange(4, dtype=">i2"), name=np.array(["a", "bc", "d", "e"]))
    two = shard(tmp_path / "two.npz", x=images[4:], y=np.arange(4, 7, dtype="<i2"), name=np.array(["longer", "é", "f"]))
    (tmp_path / "all.npz").write_bytes(joined(one, two))

    with open_table(tmp_path / "all.npz") as table:
        assert table.examples == 7
        assert (table.read("x", slice(None)) == images).all()
        assert table.read("y", slice(None)).tolist() == list(range(7))
        assert table.read("name", slice(None)).tolist() == ["a", "bc", "d", "e", "longer", "é", "f"]
    with np.load(tmp_path / "all.npz") as by_numpy:
        assert (by_numpy["x"] == images).all()


def test_join_when_formats_differ_then_rows_still_follow(tmp_path: Path) -> None:
    one = shard(tmp_path / "one.npz", x=np.asfortranarray(np.arange(6, dtype=np.float32).reshape(3, 2)))
    save_file({"x": np.full((1, 2), 9, np.float32)}, tmp_path / "two.safetensors")
    (tmp_path / "all.npz").write_bytes(joined(one, tmp_path / "two.safetensors"))

    with open_table(tmp_path / "all.npz") as table:
        assert table.read("x", slice(None)).tolist() == [[0, 1], [2, 3], [4, 5], [9, 9]]


def test_join_when_done_twice_then_bytes_are_equal(tmp_path: Path) -> None:
    one, two = (shard(tmp_path / f"{name}.npz", x=np.full((2, 2), name)) for name in (1, 2))

    assert joined(one, two) == joined(one, two)


def test_join_when_a_shard_is_larger_than_a_block_then_nothing_is_lost(tmp_path: Path) -> None:
    rows = np.arange(2 * BLOCK // 1024 + 3, dtype=np.int64)[:, None] * np.ones(128, np.int64)
    (tmp_path / "all.npz").write_bytes(joined(shard(tmp_path / "one.npz", x=rows), shard(tmp_path / "two.npz", x=rows[:1])))

    with open_table(tmp_path / "all.npz") as table:
        assert (table.read("x", slice(None)) == np.concatenate([rows, rows[:1]])).all()


@pytest.mark.parametrize(
    ("fields", "difference"),
    [
        ({"x": np.zeros((2, 3), np.float32)}, r"field 'y' is int64 \[None\] in 'one.npz' and missing in 'two.npz'"),
        ({"x": np.zeros((2, 3), np.float64), "y": np.zeros(2, int)}, r"field 'x' is float32 \[None, 3\] in 'one.npz' and float64"),
        ({"x": np.zeros((2, 4), np.float32), "y": np.zeros(2, int)}, r"field 'x' .* and float32 \[None, 4\] in 'two.npz'"),
        ({"x": np.zeros((2, 3), np.float32), "y": np.zeros(2, int), "z": np.zeros(2)}, "field 'z' is missing in 'one.npz'"),
    ],
)
def test_join_when_shards_differ_then_the_error_names_the_difference(
    tmp_path: Path, fields: dict[str, Any], difference: str
) -> None:
    one = shard(tmp_path / "one.npz", x=np.zeros((2, 3), np.float32), y=np.zeros(2, int))

    with pytest.raises(BadTable, match=difference) as caught:
        joined(one, shard(tmp_path / "two.npz", **fields))

    assert caught.value.code == "unequal_shards"


def test_join_when_shards_are_too_much_together_then_is_refused_from_their_headers(tmp_path: Path) -> None:
    paths = []
    for number in range(4):
        paths.append(tmp_path / f"{number}.npz")
        np.savez_compressed(paths[-1], x=np.zeros((1, MiB), np.uint8))

    with pytest.raises(BadTable, match="together") as caught:
        joined(*paths, limit=3 * MiB)
    assert caught.value.code == "dataset_too_large"


def test_join_when_one_string_widens_all_others_then_is_refused(tmp_path: Path) -> None:
    many = shard(tmp_path / "many.npz", name=np.full(4000, b"a"))
    wide = shard(tmp_path / "wide.npz", name=np.array(["w" * 65_000]))

    with pytest.raises(BadTable, match="together") as caught:
        joined(many, wide, limit=64 * MiB)
    assert caught.value.code == "dataset_too_large"


def test_join_when_there_are_more_shards_than_files_may_be_open_then_reads_them_all(tmp_path: Path) -> None:
    paths = [shard(tmp_path / f"{number:03}.npz", x=np.array([number])) for number in range(60)]
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) + 20, before[1]))
    try:
        content = joined(*paths)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)

    with np.load(io.BytesIO(content)) as table:
        assert table["x"].tolist() == list(range(60))


def test_join_when_a_shard_is_damaged_then_says_which(tmp_path: Path) -> None:
    (tmp_path / "junk.npz").write_bytes(b"PK junk")

    with pytest.raises(BadTable, match=r"in 'junk\.npz'"):
        joined(shard(tmp_path / "one.npz", x=np.zeros(3)), tmp_path / "junk.npz")
