"""A table over shards gives the rows that a table over the joined file gives."""

import json
import os
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from tests.tables.sharded.conftest import cut, sharded
from unitrank_tables import Table, open_table
from unitrank_tables.sharded.ranges import WASTE, ByteRange
from unitrank_tables.sharded.table import ShardedTable

ROWS = 300
RANDOM = np.random.default_rng(0)
NUMBERS = {
    "x": RANDOM.normal(size=(ROWS, 3, 4)).astype(np.float32),
    "half": RANDOM.normal(size=(ROWS, 2)).astype(np.float16),
    "y": RANDOM.integers(-5, 5, ROWS),
    "small": RANDOM.integers(0, 200, ROWS).astype(np.uint8),
    "flag": RANDOM.random(ROWS) < 0.5,
    "nothing": np.empty((ROWS, 0), np.float64),
}
TEXT = {"name": np.array([f"cluster {row % 7}" * (1 + row // 100) for row in range(ROWS)])}
BOUNDS = (0, 1, 100, 101, 250, ROWS)

Write = Callable[[Path, dict[str, np.ndarray]], None]


def npz(path: Path, fields: dict[str, np.ndarray]) -> None:
    with path.open("wb") as file:
        np.savez(file, **fields)


def safetensors(path: Path, fields: dict[str, np.ndarray]) -> None:
    save_file(fields, path)


def parquet(path: Path, fields: dict[str, np.ndarray]) -> None:
    """Write row groups of 40 rows: lists of fixed size, lists with offsets, and dictionaries."""
    if not os.environ.get("CI"):
        pytest.importorskip("pyarrow", reason="the extra `parquet` is not installed")
    import pyarrow.parquet

    columns, shapes = {}, {}
    for name, rows in fields.items():
        if rows.ndim == 1:
            column = pyarrow.array(rows.tolist(), pyarrow.from_numpy_dtype(rows.dtype) if rows.dtype.kind != "U" else None)
            columns[name] = column.dictionary_encode() if rows.dtype.kind == "U" else column
        elif rows.ndim == 2:
            columns[name] = pyarrow.array(list(rows))
        else:
            width = int(np.prod(rows.shape[1:]))
            columns[name] = pyarrow.FixedSizeListArray.from_arrays(pyarrow.array(rows.reshape(-1)), width)
            shapes[name] = rows.shape[1:]
    table = pyarrow.table(columns).replace_schema_metadata({"unitrank.shapes": json.dumps(shapes)})
    pyarrow.parquet.write_table(table, path, row_group_size=40)


FORMATS: dict[str, tuple[Write, dict[str, np.ndarray]]] = {
    "npz": (npz, NUMBERS | TEXT),
    "safetensors": (safetensors, NUMBERS),
    "parquet": (parquet, {name: rows for name, rows in (NUMBERS | TEXT).items() if name != "nothing"}),
}


@pytest.fixture(params=FORMATS)
def tables(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[ShardedTable, Table]:
    """The table over shards, and the table over one file with all rows."""
    write, fields = FORMATS[request.param]
    paths = [tmp_path / f"part-{number}" for number in range(len(BOUNDS) - 1)]
    for path, part in zip(paths, cut(fields, BOUNDS), strict=True):
        write(path, part)
    npz(tmp_path / "joined.npz", fields)
    return sharded(paths)[0], open_table(tmp_path / "joined.npz")


@pytest.mark.parametrize(
    "rows",
    [
        slice(None),
        slice(0, 0),
        slice(50, 260),
        slice(299, 0, -7),
        slice(None, None, 3),
        [0],
        [],
        [-1, 0, 299, -300, 5, 5, 100],
        np.random.default_rng(1).permutation(ROWS),
        np.arange(0, ROWS, 2, dtype=np.int32),
    ],
    ids=["all", "none", "slice", "backwards", "steps", "first", "empty", "mixed", "shuffled", "int32"],
)
def test_rows_when_read_from_shards_then_equal_those_of_the_joined_file(
    tables: tuple[ShardedTable, Table], rows: slice | list[int]
) -> None:
    over_shards, joined = tables

    assert (over_shards.examples, over_shards.fields.keys()) == (ROWS, over_shards.fields.keys() & joined.fields.keys())
    for field in over_shards.fields:
        actual, expected = over_shards.read(field, rows), joined.read(field, rows)
        assert over_shards.fields[field] == joined.fields[field]
        assert np.array_equal(actual, expected), field
        assert field == "name" or actual.dtype == expected.dtype
        assert actual.flags.c_contiguous
        assert actual.flags.writeable


def test_rows_when_they_do_not_exist_then_errors_are_those_of_numpy(tables: tuple[ShardedTable, Table]) -> None:
    for table in tables:
        for rows in ([ROWS], [-ROWS - 1]):
            with pytest.raises(IndexError):
                table.read("y", rows)
        with pytest.raises(KeyError):
            table.read("absent", [0])


def test_distinct_when_asked_then_equals_the_joined_file(tables: tuple[ShardedTable, Table]) -> None:
    over_shards, joined = tables

    for field in over_shards.fields:
        for most in (1, 3, 1000):
            assert over_shards.distinct(field, most) == joined.distinct(field, most), field
        if field != "name":
            # The width of a string in Parquet is not known before it is read.
            assert over_shards.bytes(field) == joined.bytes(field)


def test_table_when_closed_then_its_reader_is_closed(tmp_path: Path) -> None:
    npz(tmp_path / "a", {"x": np.ones((3, 2))})
    table, reader = sharded([tmp_path / "a"])
    with table:
        table.read("x", [1])

    assert reader.is_closed


def test_read_when_of_some_rows_then_reads_little_more_than_these_rows(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).choice(5000, 800, replace=False)
    npz(tmp_path / "a", {"x": np.arange(5000 * 64, dtype=np.float32).reshape(5000, 64)})
    table, reader = sharded([tmp_path / "a"])

    assert np.array_equal(table.read("x", rows)[:, 0], rows * 64)
    assert reader.bytes_read <= (1 + 1 / WASTE) * 800 * 64 * 4


def test_read_when_rows_follow_each_other_then_is_one_range(tmp_path: Path) -> None:
    npz(tmp_path / "a", {"x": np.zeros((500, 8), np.float32)})
    table, reader = sharded([tmp_path / "a"])
    table.read("x", np.arange(100, 300))

    ((shard, start, stop),) = reader.ranges
    assert (shard, stop - start) == (0, 200 * 8 * 4)


def test_read_when_a_column_is_long_then_holds_only_the_column(tmp_path: Path) -> None:
    # Above the column itself, memory holds a block of row numbers and bytes.
    count = 4_000_000
    npz(tmp_path / "a", {"y": np.zeros(count, np.uint8)})
    table, _ = sharded([tmp_path / "a"])
    tracemalloc.start()
    try:
        column = table.read("y", slice(None))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert column.nbytes == count
    assert peak < 60_000_000


class Short:
    """A reader that returns too few bytes, as for a file that was cut off."""

    def read(self, ranges: list[ByteRange]) -> list[bytes]:
        return [b"" for _ in ranges]

    def close(self) -> None:
        """Nothing is open."""


def test_read_when_bytes_are_missing_then_the_dataset_has_changed(tmp_path: Path) -> None:
    from unitrank_tables.errors import BadTable

    npz(tmp_path / "a", {"x": np.ones((3, 2))})
    table, _ = sharded([tmp_path / "a"])
    table._ranges = Short()

    with pytest.raises(BadTable) as caught:
        table.read("x", [0])
    assert caught.value.code == "dataset_changed"
