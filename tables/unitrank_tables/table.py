"""A table in a file: its fields, read from the header, and the rows of a field as arrays."""

import mmap
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import Literal, Protocol, Self, runtime_checkable

import numpy as np

from unitrank_tables.chunk_digests import CHUNK_BYTES, ChunkDigests, VerifiedChunks, VerifiedMap
from unitrank_tables.columns import Column, ColumnInfo, check_columns
from unitrank_tables.elements import Rows, RowSelection
from unitrank_tables.errors import BadTable
from unitrank_tables.files import open_file
from unitrank_tables.formats.npz import npz_columns
from unitrank_tables.formats.safetensors import safetensors_columns
from unitrank_tables.sharded.index import MAGIC, ShardIndex
from unitrank_tables.sharded.ranges import RangeReader
from unitrank_tables.sharded.table import ShardedTable
from unitrank_tables.sizes import GiB, MiB

Format = Literal["npz", "safetensors", "shards"]
UNPACKED_LIMIT = 8 * GiB
# Bytes of mapped data that may count as memory of this process.
TOUCHED_LIMIT = 128 * MiB


@runtime_checkable
class Table(Protocol):
    """Named arrays with one row for each example, in a file or in shards.

    `fields`: name → description in the API. `examples`: number of rows. `format`: of the file.
    """

    @property
    def fields(self) -> dict[str, ColumnInfo]: ...

    @property
    def examples(self) -> int: ...

    @property
    def format(self) -> Format: ...

    def read(self, field: str, rows: RowSelection) -> Rows:
        """A new array of these rows, in native byte order and C order.

        Raises KeyError for an unknown field, IndexError for an unknown row and BadTable for
        damaged data.
        """
        ...

    def distinct(self, field: str, most: int) -> list[str | int | float] | None:
        """The `most` smallest distinct values, ascending; None for a field of several axes."""
        ...

    def bytes(self, field: str) -> int:
        """The unpacked size of the field, in bytes."""
        ...

    def close(self) -> None:
        """Close the table; afterwards no field can be read."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None: ...


class FileTable:
    """The fields and rows of a file, which stays open until `close`.

    A table may be larger than memory: its data are mapped. A compressed field is unpacked into a
    temporary file when it is first read.
    """

    def __init__(self, memory: mmap.mmap, limit: int, scratch: Path) -> None:
        self.format: Format = format_of(memory)
        columns = npz_columns(memory, scratch) if self.format == "npz" else safetensors_columns(memory)
        self.examples = check_columns(columns, limit)
        self.fields: dict[str, ColumnInfo] = {column.name: column.info for column in columns}
        self._columns = {column.name: column for column in columns}
        self._mapped: dict[str, tuple[Rows, mmap.mmap]] = {}
        self._touched = 0

    def read(self, field: str, rows: RowSelection) -> Rows:
        """As in `Table`. A table with digests verifies the chunks of these rows first."""
        column = self._columns[field]
        if field not in self._mapped:
            self._mapped[field] = _array(column)
        array, memory = self._mapped[field]
        if isinstance(memory, VerifiedMap) and not memory.is_verified:
            memory.verify(_chunks(column, rows))
        picked = array[rows if isinstance(rows, slice) else np.asarray(rows, dtype=np.intp)]
        decoded = column.element.decode(picked)
        self._release(column.bytes if column.fortran else picked.nbytes + len(picked) * mmap.PAGESIZE)
        return decoded

    def distinct(self, field: str, most: int) -> list[str | int | float] | None:
        """As in `Table`."""
        if len(self.fields[field]["shape"]) != 1:
            return None
        values: list[str | int | float] = np.unique(self.read(field, slice(None)))[:most].tolist()
        return values

    def bytes(self, field: str) -> int:
        """As in `Table`."""
        return self._columns[field].bytes

    def close(self) -> None:
        """As in `Table`.

        The mapping ends with its last array. This method does not close the mapping: numpy would
        allow that even while an array still uses the mapping.
        """
        self._mapped.clear()
        self._columns.clear()

    def _release(self, touched: int) -> None:
        """Count the bytes that were read; past `TOUCHED_LIMIT`, release the mapped pages.

        Otherwise the pages count as memory of this process. The system keeps them in its cache.
        """
        self._touched += touched
        if self._touched > TOUCHED_LIMIT:
            for _, memory in self._mapped.values():
                memory.madvise(mmap.MADV_DONTNEED)
            self._touched = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def open_table(
    path: Path,
    limit: int = UNPACKED_LIMIT,
    scratch: Path | None = None,
    digests: ChunkDigests | None = None,
    verified: VerifiedChunks | None = None,
    ranges: Callable[[ShardIndex], RangeReader] | None = None,
) -> Table:
    """The table in a file, its header checked. Raises BadTable.

    `limit`: bytes of unpacked data. `scratch`: the folder that compressed fields are unpacked into;
    by default the folder of the file. `digests`: with them, each chunk is verified before it is
    read. `verified`: remembers the verified chunks for the next table of the same file.
    `ranges`: makes a reader of shards; without it, the index of shards is not a table.
    """
    memory = _map(path, digests, verified or VerifiedChunks())
    if ranges is not None and memory[: len(MAGIC)] == MAGIC:
        index = ShardIndex.from_bytes(memory[:])
        return ShardedTable(index, ranges(index))
    return FileTable(memory, limit, scratch or path.parent)


def _map(path: Path, digests: ChunkDigests | None, verified: VerifiedChunks) -> mmap.mmap:
    with open_file(path) as file:
        if digests is not None:
            return VerifiedMap.open(file.fileno(), digests, verified)
        if path.stat().st_size == 0:
            raise BadTable("not_a_table", "the file is empty; expected an npz or a safetensors file")
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def format_of(memory: mmap.mmap) -> Format:
    """The format of a file, from its first bytes. Raises BadTable."""
    start = memory[:9]
    if start[:2] == b"PK":
        return "npz"
    if start[8:] == b"{":
        return "safetensors"
    formats = {
        b"\x93NUMPY": "a single .npy array; save it with numpy.savez",
        b"PAR1": "a Parquet file; give its URI, such as 's3://bucket/part-*.parquet'",
        b"\x80": "a pickle, which is never read; save arrays with numpy.savez",
    }
    given = next((text for magic, text in formats.items() if start.startswith(magic)), f"a file that starts with {start!r}")
    raise BadTable("not_a_table", f"expected an npz or a safetensors file, got {given}")


def _array(column: Column) -> tuple[Rows, mmap.mmap]:
    order: Literal["F", "C"] = "F" if column.fortran else "C"
    memory = column.source()
    return np.ndarray(column.shape, column.element.stored, memory, column.offset, order=order), memory


def _chunks(column: Column, rows: RowSelection) -> Iterable[int]:
    """The indices of the file's chunks that hold these rows."""
    count = max(column.shape[0], 1)
    width = column.bytes // count
    if column.fortran or not width:
        first, last = np.array([0]), np.array([count - 1])
    elif isinstance(rows, slice):
        picked = range(count)[rows]
        first, last = np.array([min(picked, default=0)]), np.array([max(picked, default=-1)])
    else:
        # numpy counts a negative row from the end, and refuses an unknown row afterwards.
        picked_rows = np.asarray(rows, dtype=np.intp).reshape(-1)
        first = last = np.clip(np.where(picked_rows < 0, picked_rows + count, picked_rows), 0, count - 1)
    starts = (column.offset + first * width) // CHUNK_BYTES
    stops = (column.offset + (last + 1) * width - 1) // CHUNK_BYTES + 1
    pairs = np.unique(np.stack([starts, stops], axis=1), axis=0).tolist()
    return {index for start, stop in pairs for index in range(start, stop)}
