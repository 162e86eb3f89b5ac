"""A table on the disk: its fields from the header, rows of a field as native arrays."""

import mmap
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import numpy as np

from unitrank_tables.columns import Column, ColumnInfo, check_columns
from unitrank_tables.elements import Rows
from unitrank_tables.errors import BadTable
from unitrank_tables.npz import npz_columns
from unitrank_tables.safetensors import safetensors_columns
from unitrank_tables.sizes import GiB, MiB

Format = Literal["npz", "safetensors"]
UNPACKED_LIMIT = 8 * GiB
# Mapped data that may count as this process's memory.
TOUCHED_LIMIT = 128 * MiB


class Table:
    """Fields and rows of a file that stays open until `close`; a table may be larger than memory.

    Data are mapped, never read whole; a compressed field is unpacked into a file without a name when it is first read.
    `fields` is what the API says of them.
    """

    def __init__(self, path: Path, limit: int, scratch: Path) -> None:
        memory = _map(path)
        self.format: Format = _format(memory)
        columns = npz_columns(memory, scratch) if self.format == "npz" else safetensors_columns(memory)
        self.examples = check_columns(columns, limit)
        self.fields: dict[str, ColumnInfo] = {column.name: column.info for column in columns}
        self._columns = {column.name: column for column in columns}
        self._mapped: dict[str, tuple[Rows, mmap.mmap]] = {}
        self._touched = 0

    def read(self, field: str, rows: slice | Sequence[int] | np.ndarray[Any, np.dtype[np.integer[Any]]]) -> Rows:
        """A new array of these rows, in native byte order and C order.

        Raises KeyError for no such field, IndexError for no such row, BadTable for damaged data.
        """
        column = self._columns[field]
        if field not in self._mapped:
            self._mapped[field] = _array(column)
        array, _ = self._mapped[field]
        picked = array[rows if isinstance(rows, slice) else np.asarray(rows, dtype=np.intp)]
        found = column.element.decode(picked)
        self._let_go(column.bytes if column.fortran else picked.nbytes + len(picked) * mmap.PAGESIZE)
        return found

    def distinct(self, field: str, most: int) -> list[str | int | float] | None:
        """The first `most` distinct values of a field with one axis, ascending; None for a field with more axes."""
        if len(self.fields[field]["shape"]) != 1:
            return None
        values: list[str | int | float] = np.unique(self.read(field, slice(None)))[:most].tolist()
        return values

    def bytes(self, field: str) -> int:
        """What the field takes when unpacked."""
        return self._columns[field].bytes

    def close(self) -> None:
        """Afterwards there is nothing to read. The mapping goes with its last array: numpy would let it be closed before."""
        self._mapped.clear()
        self._columns.clear()

    def _let_go(self, touched: int) -> None:
        """What was read stays in this process's memory until it is told that it may go; the system keeps it at hand."""
        self._touched += touched
        if self._touched > TOUCHED_LIMIT:
            for _, memory in self._mapped.values():
                memory.madvise(mmap.MADV_DONTNEED)
            self._touched = 0

    def __enter__(self) -> "Table":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def open_table(path: Path, limit: int = UNPACKED_LIMIT, scratch: Path | None = None) -> Table:
    """The table in a file, its header checked. Raises BadTable.

    `limit`: bytes of unpacked data; `scratch`: the folder that compressed fields are unpacked into, by default the file's.
    """
    return Table(path, limit, scratch or path.parent)


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


def _array(column: Column) -> tuple[Rows, mmap.mmap]:
    order: Literal["F", "C"] = "F" if column.fortran else "C"
    memory = column.source()
    return np.ndarray(column.shape, column.element.stored, memory, column.offset, order=order), memory
