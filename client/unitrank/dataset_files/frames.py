"""Frames of pandas and Polars, tables of Arrow, and files of CSV and Parquet as columns."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unitrank.dataset_files.arrays import array_of
from unitrank.errors import NotPossible

if TYPE_CHECKING:
    from numpy.typing import NDArray

SHAPES = b"unitrank.shapes"
"""Key of a Parquet file's metadata: JSON, column → shape of a row; see docs/datasets.md."""
MOST_NAMED = 20
"""Names that a note lists."""
OTHER_CSV = (
    "save it as CSV UTF-8 with commas, or send a frame: datasets.put(name, pandas.read_csv(path, sep=';', encoding='latin-1'))"
)
"""The next step for a CSV file in another encoding, or with another separator."""


def is_frame(data: Any) -> bool:
    """Whether the data is a frame of pandas or Polars, or a table of Arrow."""
    return type(data).__name__ in ("DataFrame", "Table") and hasattr(data, "columns")


def frame_columns(frame: Any) -> dict[str, NDArray[Any]]:
    """The columns of a frame or table. Raises NotPossible for missing values."""
    if hasattr(frame, "column_names"):
        return {name: _arrow_array(frame[name], name) for name in frame.column_names}
    return {str(name): _series_array(frame[name], str(name)) for name in frame.columns}


def file_columns(path: Path) -> dict[str, NDArray[Any]]:
    """The columns of a CSV file with a header, or of a Parquet file. Raises NotPossible."""
    try:
        import pyarrow
        import pyarrow.csv
        import pyarrow.parquet
    except ImportError as error:
        raise NotPossible(
            f"{path} needs pyarrow, which is not installed: pip install 'unitrank[parquet]'", code="not_installed"
        ) from error
    is_csv = path.suffix.lower() == ".csv"
    try:
        if is_csv:
            _check_header(path)
        table = pyarrow.csv.read_csv(path) if is_csv else pyarrow.parquet.read_table(path)
    except (pyarrow.ArrowInvalid, OSError) as error:
        raise NotPossible(f"{path} cannot be read: {error}", code="invalid_request") from error
    names = table.column_names
    if repeated := [name for name in names if names.count(name) > 1]:
        detail = f"{path} has several columns with the name {repeated[0]!r}; give each column another name"
        raise NotPossible(detail, code="invalid_request")
    if is_csv and (binary := [field.name for field in table.schema if pyarrow.types.is_binary(field.type)]):
        raise NotPossible(f"column {binary[0]!r} of {path} is not UTF-8 text; {OTHER_CSV}", code="invalid_request")
    shapes = json.loads((table.schema.metadata or {}).get(SHAPES, b"{}"))
    columns = frame_columns(table)
    return {name: values.reshape(len(values), *shapes[name]) if name in shapes else values for name, values in columns.items()}


def with_class_numbers(columns: dict[str, NDArray[Any]], note: Callable[[str], None]) -> dict[str, NDArray[Any]]:
    """The columns with numbers in place of a text column `y`, whose texts become `y_name`.

    The numbers count the texts in their order. Columns that have `y_name` are not changed.
    """
    import numpy as np

    labels = columns.get("y")
    if labels is None or labels.dtype.kind != "U" or labels.ndim != 1 or "y_name" in columns:
        return columns
    names, numbers = np.unique(labels, return_inverse=True)
    note(f"y is the number of its text, in the order of the texts: {numbered(names.tolist())}; y_name has the texts")
    return {**columns, "y": numbers, "y_name": labels}


def numbered(names: list[str]) -> str:
    """The first names with their numbers, such as `0 cat, 1 dog`."""
    words = ", ".join(f"{number} {name}" for number, name in enumerate(names[:MOST_NAMED]))
    return words if len(names) <= MOST_NAMED else f"{words}, … ({len(names)} in all)"


def _check_header(path: Path) -> None:
    """Raises NotPossible for a CSV file in another encoding, or with another separator."""
    with path.open("rb") as file:
        line = file.readline()
    try:
        header = line.decode()
    except UnicodeDecodeError as error:
        raise NotPossible(f"{path} is not UTF-8 text; {OTHER_CSV}", code="invalid_request") from error
    separators = [separator for separator in ";\t|" if separator in header]
    if separators and "," not in header:
        detail = f"the columns of {path} are separated by {separators[0]!r}, not by commas; {OTHER_CSV}"
        raise NotPossible(detail, code="invalid_request")


def _series_array(series: Any, name: str) -> NDArray[Any]:
    missing = series.isna() if hasattr(series, "isna") else series.is_null()
    _check_complete(name, missing.to_list() if missing.any() else [])
    return _array(series.to_numpy(), series.to_list, name)


def _arrow_array(column: Any, name: str) -> NDArray[Any]:
    _check_complete(name, column.is_null().to_pylist() if column.null_count else [])
    return _array(column.to_numpy(), column.to_pylist, name)


def _array(values: NDArray[Any], to_list: Callable[[], list[Any]], name: str) -> NDArray[Any]:
    """The values of a column. Texts, lists and categories come as Python objects.

    `to_list`: returns the values as a list.
    """
    import numpy as np

    if not values.dtype.hasobject:
        return values
    rows = to_list()
    if len({row.shape if isinstance(row, np.ndarray) else None for row in values}) == 1 and isinstance(values[0], np.ndarray):
        # Lists come as arrays, which keep their type; Python's numbers have no type of their own.
        rows = list(values)
    return array_of(rows, name)


def _check_complete(name: str, absent: list[bool]) -> None:
    """Raises NotPossible if a value is absent. `absent`: for each row, or empty."""
    rows = [row for row, missing in enumerate(absent) if missing]
    if rows:
        raise NotPossible(
            f"column {name!r} has {len(rows)} missing values, the first in row {rows[0]}; fill them or drop these rows",
            code="null_values",
        )
