"""A table on the disk: its fields from the header, rows of a field as native arrays."""

import mmap
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import numpy as np

from store.errors import BadTable
from store.settings import GiB
from store.tables.columns import Column, FieldInfo, check_columns
from store.tables.elements import Rows
from store.tables.npz import npz_columns
from store.tables.safetensors import safetensors_columns

Format = Literal["npz", "safetensors"]
UNPACKED_LIMIT = 8 * GiB


class Table:
    """Fields and rows of a file that stays open until `close`; uncompressed data are mapped, never read whole.

    A compressed field is unpacked into memory when it is first read and kept. `fields` is what the API says of them.
    """

    def __init__(self, path: Path, limit: int) -> None:
        memory = _map(path)
        self.format: Format = _format(memory)
        columns = npz_columns(memory) if self.format == "npz" else safetensors_columns(memory)
        self.examples = check_columns(columns, limit)
        self.fields: dict[str, FieldInfo] = {column.name: column.info for column in columns}
        self._columns = {column.name: column for column in columns}
        self._arrays: dict[str, Rows] = {}

    def read(self, field: str, rows: slice | Sequence[int] | np.ndarray[Any, np.dtype[np.integer[Any]]]) -> Rows:
        """A new array of these rows, in native byte order and C order.

        Raises KeyError for no such field, IndexError for no such row, BadTable for damaged data.
        """
        column = self._columns[field]
        if field not in self._arrays:
            self._arrays[field] = _array(column)
        picked = rows if isinstance(rows, slice) else np.asarray(rows, dtype=np.intp)
        return column.element.decode(self._arrays[field][picked])

    def close(self) -> None:
        """Afterwards there is nothing to read. The mapping goes with its last array: numpy would let it be closed before."""
        self._arrays.clear()
        self._columns.clear()

    def __enter__(self) -> "Table":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def open_table(path: Path, limit: int = UNPACKED_LIMIT) -> Table:
    """The table in a file, its header checked. Raises BadTable; `limit` is in bytes of unpacked data."""
    return Table(path, limit)


def _map(path: Path) -> mmap.mmap:
    with path.open("rb") as file:
        if path.stat().st_size == 0:
            raise BadTable("not_a_table", "the file is empty; expected an npz or a safetensors file")
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def _format(memory: mmap.mmap) -> Format:
    start = memory[:9]
    if start[:2] == b"PK":
        return "npz"
    if start[8:] == b"{":
        return "safetensors"
    known = {b"\x93NUMPY": "a single .npy array; save it with numpy.savez", b"\x80": "a pickle, which is never read"}
    found = next((what for magic, what in known.items() if start.startswith(magic)), f"a file that starts with {start!r}")
    raise BadTable("not_a_table", f"expected an npz or a safetensors file, got {found}")


def _array(column: Column) -> Rows:
    order: Literal["F", "C"] = "F" if column.fortran else "C"
    return np.ndarray(column.shape, column.element.stored, column.source(), column.offset, order=order)
