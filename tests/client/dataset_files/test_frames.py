"""Frames, CSV files and Parquet files become fields; missing values are refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas
import polars
import pyarrow
import pyarrow.parquet
import pytest

from unitrank.dataset_files import dataset_file
from unitrank.errors import NotPossible
from unitrank_tables import open_table

AGES, NAMES, LISTS = np.array([1.5, 2.0], np.float32), ["ann", "bo"], [[1, 2], [3, 4]]


def read(data: Any, columns: Any = None, notes: list[str] | None = None) -> dict[str, Any]:
    with dataset_file(data, {}, columns, note=([] if notes is None else notes).append) as path, open_table(path) as table:
        return {name: table.read(name, slice(None)) for name in table.fields}


def frames() -> list[Any]:
    lists = np.array(LISTS, np.float32)
    return [
        pandas.DataFrame({"age": AGES, "name": pandas.Categorical(NAMES), "list": list(lists)}),
        polars.DataFrame({"age": AGES, "name": NAMES, "list": lists}),
        polars.DataFrame({"age": AGES, "name": NAMES, "list": polars.Series(LISTS, dtype=polars.List(polars.Float32))}),
        pyarrow.table({"age": AGES, "name": NAMES, "list": list(lists)}),
    ]


@pytest.mark.parametrize("frame", frames(), ids=["pandas", "polars", "polars list", "arrow"])
def test_frame_when_uploaded_then_each_column_is_a_field_of_its_type(frame: Any) -> None:
    fields = read(frame)

    assert fields["age"].dtype == fields["list"].dtype == np.float32
    np.testing.assert_array_equal(fields["age"], AGES)
    np.testing.assert_array_equal(fields["list"], LISTS)
    assert fields["name"].tolist() == NAMES


def test_csv_when_uploaded_then_types_are_inferred_and_columns_stacked(tmp_path: Path) -> None:
    (tmp_path / "people.csv").write_text("age,height,name\n30,1.5,ann\n40,1.75,bo\n")

    fields = read(tmp_path / "people.csv", {"x": ["age", "height"], "who": "name"})

    np.testing.assert_array_equal(fields["x"], [[30, 1.5], [40, 1.75]])
    assert fields["who"].tolist() == ["ann", "bo"]


def test_parquet_when_it_names_shapes_then_rows_have_them(tmp_path: Path) -> None:
    table = pyarrow.table({"x": np.arange(12, dtype=np.float32).reshape(2, 6).tolist(), "y": [0, 1]})
    table = table.replace_schema_metadata({"unitrank.shapes": '{"x": [1, 2, 3]}'})
    pyarrow.parquet.write_table(table, tmp_path / "images.parquet")

    fields = read(tmp_path / "images.parquet")

    np.testing.assert_array_equal(fields["x"], np.arange(12).reshape(2, 1, 2, 3))


@pytest.mark.parametrize("kind", ["csv", "parquet", "pandas"])
def test_labels_when_they_are_texts_then_y_has_their_numbers_and_y_name_the_texts(tmp_path: Path, kind: str) -> None:
    frame = pandas.DataFrame({"x": [1.0, 2.0, 3.0, 4.0], "kind": ["dog", "cat", "dog", "eel"]})
    frame.to_csv(tmp_path / "animals.csv", index=False)
    frame.to_parquet(tmp_path / "animals.parquet", index=False)
    notes: list[str] = []

    fields = read(frame if kind == "pandas" else tmp_path / f"animals.{kind}", {"x": "x", "y": "kind"}, notes)

    assert fields["y"].tolist() == [1, 0, 1, 2]
    assert fields["y_name"].tolist() == ["dog", "cat", "dog", "eel"]
    assert notes == [
        "y is the number of its text, in the order of the texts: 0 cat, 1 dog, 2 eel; y_name has the texts",
    ]


def test_labels_when_they_are_numbers_or_have_names_then_stay_as_they_are() -> None:
    assert read(pandas.DataFrame({"y": [3, 5]}))["y"].tolist() == [3, 5]
    assert read(pandas.DataFrame({"y": ["b", "a"], "y_name": ["B", "A"]}))["y"].tolist() == ["b", "a"]


@pytest.mark.parametrize(
    "frame",
    [
        pandas.DataFrame({"age": [1, None, 3]}),
        polars.DataFrame({"age": [1, None, 3]}),
        pyarrow.table({"age": [1, None, 3]}),
    ],
    ids=["pandas", "polars", "arrow"],
)
def test_frame_when_values_are_missing_then_the_error_names_column_and_row(frame: Any) -> None:
    with pytest.raises(NotPossible, match="column 'age' has 1 missing values, the first in row 1"):
        read(frame)


def test_frame_when_lists_are_ragged_then_is_refused() -> None:
    with pytest.raises(NotPossible, match=r"field 'x' .* mixed or ragged"):
        read(pandas.DataFrame({"x": [[1], [1, 2]]}))


def test_file_when_it_is_broken_or_absent_then_the_error_names_it(tmp_path: Path) -> None:
    (tmp_path / "broken.parquet").write_bytes(b"PAR1")

    with pytest.raises(NotPossible, match=r"broken\.parquet cannot be read"):
        read(tmp_path / "broken.parquet")
    with pytest.raises(NotPossible, match=r"absent\.csv does not exist"):
        read(tmp_path / "absent.csv")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("n\u00e4me,b\n1,2\n".encode("latin-1"), r"is not UTF-8 text; save it as CSV UTF-8"),
        ("name,b\nM\u00fcller,2\n".encode("latin-1"), r"column 'name' of .* is not UTF-8 text"),
        ("a,b\n1,2\n".encode("utf-16"), r"is not UTF-8 text"),
        (b"a;b\n1,5;2\n", r"separated by ';', not by commas; .* pandas\.read_csv"),
        (b"a\tb\n1\t2\n", r"separated by '\\t', not by commas"),
        (b"a,a\n1,2\n", r"several columns with the name 'a'"),
    ],
    ids=["names", "values", "utf-16", "semicolons", "tabs", "repeated"],
)
def test_csv_when_it_is_written_otherwise_then_the_error_says_how_to_send_it(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "t.csv").write_bytes(content)

    with pytest.raises(NotPossible, match=words):
        read(tmp_path / "t.csv")
