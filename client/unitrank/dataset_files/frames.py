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
    read = pyarrow.csv.read_csv if path.suffix.lower() == ".csv" else pyarrow.parquet.read_table
    try:
        table = read(path)
    except (pyarrow.ArrowInvalid, OSError) as error:
        raise NotPossible(f"{path} cannot be read: {error}", code="invalid_request") from error
    shapes = json.loads((table.schema.metadata or {}).get(SHAPES, b"{}"))
    columns = frame_columns(table)
    return {name: values.reshape(len(values), *shapes[name]) if name in shapes else values for name, values in columns.items()}


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
