"""Any data as one file that the service reads."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unitrank.dataset_files.arrays import array_of, write_npz
from unitrank.dataset_files.column_files import ColumnFiles
from unitrank.dataset_files.frames import file_columns, frame_columns, is_frame, numbered, with_class_numbers
from unitrank.dataset_files.images import image_rows
from unitrank.dataset_files.items import rows_of
from unitrank.errors import NotPossible

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Arrays = dict[str, NDArray[Any]]

Columns = Mapping[str, str | Sequence[str]]
"""Field → the column that it is, or the columns that it is stacked of."""
COLUMN_FILES = (".csv", ".parquet", ".pq")


@contextmanager
def dataset_file(
    data: Any, fields: Mapping[str, Any], columns: Columns | None = None, *, note: Callable[[str], None] = lambda text: None
) -> Iterator[Path]:
    """Yields a file with the fields, which is deleted after the block. Raises NotPossible.

    Args:
        data: the path of a file or of a folder of images; a mapping of fields; a frame; a dataset
            or a loader, whose items are values, tuples or mappings; or None.
        fields: more fields by name. All fields have one row per example.
        columns: the fields to make of the columns of `data`; None: each column is a field.
        note: is called with a sentence about data that was converted.
    """
    path = Path(data) if isinstance(data, str | Path) else None
    if path is not None and not path.is_dir() and path.suffix.lower() not in (*COLUMN_FILES, ".npy"):
        yield _ready_file(path, fields, columns)
        return
    with tempfile.TemporaryDirectory(prefix="unitrank-") as name:
        folder = Path(name)
        arrays = _chosen(_arrays_of(data, path, folder, note), columns)
        if is_frame(data) or (path is not None and path.suffix.lower() in COLUMN_FILES):
            arrays = with_class_numbers(arrays, note)
        both = sorted(arrays.keys() & fields.keys())
        if both and not isinstance(data, Mapping):
            raise NotPossible(f"the field {both[0]!r} is in the data and was given, too; give it once", code="invalid_request")
        arrays |= {field: array_of(values, field) for field, values in fields.items()}
        if not arrays:
            raise NotPossible("the dataset has no fields; give arrays such as x=… and y=…, a PyTorch dataset, a path or uri=…")
        write_npz(folder / "table.npz", arrays)
        yield folder / "table.npz"


def _ready_file(path: Path, fields: Mapping[str, Any], columns: Columns | None) -> Path:
    """The path of a file that the service reads as it is. Raises NotPossible."""
    if not path.is_file():
        raise NotPossible(
            f"the file {path} does not exist; give the path of an .npz, safetensors, CSV or Parquet file, or of a folder of images",
            code="no_file",
        )
    if fields or columns:
        further = f"the fields {', '.join(map(repr, fields))}" if fields else "columns"
        raise NotPossible(f"both the file {path} and {further} were given; give one of them", code="invalid_request")
    return path


def _arrays_of(data: Any, path: Path | None, folder: Path, note: Callable[[str], None]) -> Arrays:
    """The columns of the data. `folder`: for files of columns that memory may not hold."""
    import numpy as np

    if path is not None and path.is_dir():
        return _images(path, folder, note)
    if path is not None and not path.is_file():
        raise NotPossible(f"the file {path} does not exist", code="no_file")
    if path is not None and path.suffix == ".npy":
        return {"x": np.load(path, mmap_mode="r", allow_pickle=False)}
    if path is not None:
        return file_columns(path)
    if data is None:
        return {}
    if is_frame(data):
        return frame_columns(data)
    if isinstance(data, Mapping):
        return _mapping(data)
    if isinstance(data, np.ndarray):
        return {"x": data}
    return _streamed(data, folder)


def _images(path: Path, folder: Path, note: Callable[[str], None]) -> Arrays:
    with ColumnFiles(folder) as files:
        for rows in image_rows(path):
            files.add(rows)
        arrays = files.arrays()
    names = sorted(set(arrays["class"].tolist())) if "class" in arrays else []
    classes, numbers = (f" of {len(names)} classes", f"; y is the number of the class: {numbered(names)}") if names else ("", "")
    note(f"{files.rows} images{classes}: x is uint8 {list(arrays['x'].shape[1:])}, channels first{numbers}")
    return arrays


def _mapping(data: Mapping[Any, Any]) -> Arrays:
    split = next((name for name, value in data.items() if hasattr(value, "features") and hasattr(value, "__getitem__")), None)
    if split is not None:
        raise NotPossible(
            f"a {type(data).__name__} has several datasets: {', '.join(map(repr, data))}; "
            f"upload one of them, such as data[{split!r}]",
            code="invalid_request",
        )
    return {str(name): array_of(values, str(name)) for name, values in data.items()}


def _streamed(data: Any, folder: Path) -> Arrays:
    with ColumnFiles(folder) as files:
        for rows in rows_of(data):
            files.add(rows)
        return files.arrays()


def _chosen(arrays: Arrays, columns: Columns | None) -> Arrays:
    """The fields that `columns` makes of the arrays. Raises NotPossible for an unknown column."""
    import numpy as np

    if columns is None:
        return arrays
    fields: Arrays = {}
    for field, names in columns.items():
        parts = [names] if isinstance(names, str) else list(names)
        for part in parts:
            if part not in arrays:
                nearest = get_close_matches(part, arrays, n=1)
                advice = f"did you mean {nearest[0]!r}?" if nearest else f"the columns are {', '.join(map(repr, arrays))}"
                raise NotPossible(f"column {part!r} of the field {field!r} does not exist; {advice}", code="invalid_request")
        if len({arrays[part].shape for part in parts}) != 1:
            shapes = ", ".join(f"{part} {list(arrays[part].shape[1:])}" for part in parts)
            raise NotPossible(f"the columns of the field {field!r} have unequal shapes: {shapes}", code="invalid_request")
        fields[field] = arrays[names] if isinstance(names, str) else np.stack([arrays[part] for part in parts], axis=1)
    return fields
