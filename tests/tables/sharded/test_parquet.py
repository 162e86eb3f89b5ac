"""Parquet shards: whole row groups are read, and false or unsuitable files are rejected."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.tables.sharded.conftest import header, sharded
from unitrank_tables.errors import BadTable

if not os.environ.get("CI"):
    pytest.importorskip("pyarrow", reason="the extra `parquet` is not installed")

import pyarrow
import pyarrow.parquet


def written(path: Path, rows_of_group: int = 100, metadata: dict[str, str] | None = None, **columns: Any) -> Path:
    table = pyarrow.table(columns)
    pyarrow.parquet.write_table(table.replace_schema_metadata(metadata or {}), path, row_group_size=rows_of_group)
    return path


def rejected(path: Path) -> BadTable:
    with pytest.raises(BadTable) as caught:
        header(path)
    assert path.name in caught.value.detail
    return caught.value


def damaged(path: Path, rows: Any = slice(None), field: str = "x") -> BadTable:
    """The error of a read of a file whose header is accepted."""
    table, _ = sharded([path])
    with pytest.raises(BadTable) as caught:
        table.read(field, rows)
    assert path.name in caught.value.detail
    return caught.value


def test_read_when_of_some_rows_then_reads_only_the_chunks_of_their_row_groups_once(tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(size=(1000, 16))
    path = written(tmp_path / "a", x=list(values), y=np.arange(1000))
    groups = pyarrow.parquet.read_metadata(path)
    table, reader = sharded([path])
    for _ in range(3):
        assert np.array_equal(table.read("x", [5, 99, 310, 7]), values[[5, 99, 310, 7]])

    assert reader.bytes_read == sum(groups.row_group(group).column(0).total_compressed_size for group in (0, 3))


def test_decoded_chunks_when_they_take_much_room_then_are_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("unitrank_tables.sharded.parquet.DECODED_BYTES", 1000)
    table, reader = sharded([written(tmp_path / "a", x=np.arange(1000.0))])
    rows = np.random.default_rng(0).permutation(1000)

    assert np.array_equal(table.read("x", rows), rows)
    before = reader.bytes_read
    assert np.array_equal(table.read("x", rows), rows)
    assert before < reader.bytes_read <= 2 * before


def test_read_when_pyarrow_is_missing_then_says_how_to_install_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path / "a", x=np.arange(3.0))
    monkeypatch.setitem(__import__("sys").modules, "pyarrow.parquet", None)

    with pytest.raises(BadTable) as caught:
        sharded([path])[0].read("x", [0])
    assert caught.value.code == "parquet_not_installed"
    assert "unitrank[parquet]" in caught.value.detail


@pytest.mark.parametrize(
    ("column", "code"),
    [
        (pyarrow.array([[1.0], [1.0, 2.0]]), "unequal_lists"),
        (pyarrow.array([1.0, None]), "null_values"),
        (pyarrow.array([[1.0, 2.0], None]), "unequal_lists"),
        (pyarrow.array([[[1.0]], [[2.0]]]), "unsupported_dtype"),
        (pyarrow.array([{"a": 1}, {"a": 2}]), "unsupported_dtype"),
        (pyarrow.array([[("a", 1)], [("b", 2)]], pyarrow.map_(pyarrow.string(), pyarrow.int64())), "unsupported_dtype"),
        (pyarrow.array([b"a", b"b"]), "unsupported_dtype"),
        (pyarrow.array([1, 2], pyarrow.date32()), "unsupported_dtype"),
        (pyarrow.array([1, 2], pyarrow.timestamp("us")), "unsupported_dtype"),
        (pyarrow.array([1, 2], pyarrow.decimal128(9, 2)), "unsupported_dtype"),
    ],
    ids=lambda value: str(getattr(value, "type", value)),
)
def test_column_when_it_is_no_axis_of_numbers_then_is_rejected_at_import(tmp_path: Path, column: Any, code: str) -> None:
    error = rejected(written(tmp_path / "a", x=column))

    assert error.code == code
    assert "'x'" in error.detail


def test_lists_when_their_lengths_differ_and_the_sum_fits_then_are_rejected_when_read(tmp_path: Path) -> None:
    error = damaged(written(tmp_path / "a", x=pyarrow.array([[1.0], [1.0, 2.0, 3.0]])))

    assert error.code == "unequal_lists"
    assert "row 0" in error.detail


def test_nulls_when_the_footer_does_not_count_them_then_are_rejected_when_read(tmp_path: Path) -> None:
    for name, column in (("a", pyarrow.array([1.0, None])), ("b", pyarrow.array([[1.0, None], [2.0, 3.0]]))):
        pyarrow.parquet.write_table(pyarrow.table({"x": column}), tmp_path / name, write_statistics=False)
        assert damaged(tmp_path / name).code == "null_values"


def test_lists_when_row_groups_or_shards_differ_then_are_rejected(tmp_path: Path) -> None:
    column = pyarrow.array([[1.0]] * 100 + [[1.0, 2.0]] * 100)
    assert rejected(written(tmp_path / "a", x=column)).code == "unequal_lists"
    with pytest.raises(BadTable) as caught:
        sharded([written(tmp_path / "b", x=pyarrow.array([[1.0]])), written(tmp_path / "c", x=pyarrow.array([[1.0, 2.0]]))])

    assert caught.value.code == "unequal_shards"


@pytest.mark.parametrize("shape", ["[2, 2]", '"a"', "[-1, -3]", "[1e99]", "null", "[3"])
def test_shape_when_it_does_not_fit_then_is_rejected(tmp_path: Path, shape: str) -> None:
    path = written(tmp_path / "a", metadata={"unitrank.shapes": f'{{"x": {shape}}}'}, x=pyarrow.array([[1.0, 2.0, 3.0]]))

    assert rejected(path).code == "header_mismatch"


def test_strings_when_one_is_very_long_then_are_rejected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("unitrank_tables.sharded.parquet.TEXT_BYTES", 1000)

    assert damaged(written(tmp_path / "a", x=["a"] * 50 + ["b" * 100])).code == "unsupported_dtype"


def test_file_when_its_pages_are_damaged_then_is_an_error_that_names_it(tmp_path: Path) -> None:
    path = written(tmp_path / "a", x=np.arange(100.0))
    content = path.read_bytes()
    codes = set()
    for start in range(4, len(content) - 2000, 40):
        path.write_bytes(content[:start] + b"\xff" * 40 + content[start + 40 :])
        table, _ = sharded([path])
        try:
            values = table.read("x", slice(None))
        except BadTable as error:
            codes.add(error.code)
        else:
            assert values.shape == (100,)
    assert codes <= {"damaged", "null_values", "unequal_lists"}


def test_metadata_when_it_gives_a_shape_then_a_list_has_these_axes(tmp_path: Path) -> None:
    images = np.random.default_rng(0).normal(size=(6, 1, 4, 3))
    metadata = {"unitrank.shapes": json.dumps({"x": [1, 4, 3]})}
    table, _ = sharded([written(tmp_path / "a", metadata=metadata, x=list(images.reshape(6, -1)))])

    assert table.fields["x"] == {"dtype": "float64", "shape": [None, 1, 4, 3]}
    assert np.array_equal(table.read("x", [4, 1]), images[[4, 1]])
