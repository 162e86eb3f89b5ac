"""Reads the headers of shards in place, for the index: some KiB of each shard."""

import mmap
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple, cast

from unitrank_tables.columns import Column, ColumnInfo, check_columns
from unitrank_tables.errors import BadTable
from unitrank_tables.formats.npz import npz_columns
from unitrank_tables.formats.parquet_footer import MAGIC, TAIL, footer_size, read_footer
from unitrank_tables.formats.safetensors import safetensors_columns
from unitrank_tables.sharded.arrays import is_in_order, stored_column
from unitrank_tables.sharded.index import ShardEntry, ShardIndex
from unitrank_tables.shards import check_alike
from unitrank_tables.table import format_of

PAGE = 4096

ReadRange = Callable[[int, int], bytes]
"""Returns the bytes from a start to a stop (exclusive) of a file."""


class ShardFile(NamedTuple):
    """A file that may become a shard. `uri`, `size`, `pin`: as in `ShardEntry`."""

    uri: str
    size: int
    pin: str
    read: ReadRange


class ShardHeader(NamedTuple):
    """The header of a shard. `entry`: None where its rows cannot be read in place.

    The arrays are compressed then, or their rows are not contiguous bytes (Fortran order).
    """

    uri: str
    fields: dict[str, ColumnInfo]
    entry: ShardEntry | None


def read_shard_header(file: ShardFile) -> ShardHeader:
    """The header of a shard. Raises BadTable, whose message names the shard."""
    try:
        return _parquet_header(file) if file.size and file.read(0, min(4, file.size)) == MAGIC else _array_header(file)
    except BadTable as error:
        raise BadTable(error.code, f"in {file.uri!r}: {error.detail}") from error


def index_of(headers: Sequence[ShardHeader]) -> ShardIndex | None:
    """The index of these shards; None where one of them cannot be read in place.

    Raises BadTable `unequal_shards` if their fields differ.
    """
    first = headers[0]
    for header in headers:
        check_alike(first.uri, first.fields, header.uri, header.fields)
    entries = [header.entry for header in headers if header.entry is not None]
    return ShardIndex(first.fields, entries) if len(entries) == len(headers) else None


class _HeaderBytes:
    """A file as bytes that can be sliced. Its pages are read when they are needed first."""

    def __init__(self, file: ShardFile) -> None:
        self._size = file.size
        self._read = file.read
        self._pages: dict[int, bytes] = {}

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, key: slice) -> bytes:
        start, stop, _ = key.indices(self._size)
        if start >= stop:
            return b""
        first, last = start // PAGE, (stop - 1) // PAGE + 1
        missing = [page for page in range(first, last) if page not in self._pages]
        if missing:
            begin = missing[0] * PAGE
            content = self._read(begin, min((missing[-1] + 1) * PAGE, self._size))
            for page in range(missing[0], missing[-1] + 1):
                self._pages[page] = content[page * PAGE - begin : (page + 1) * PAGE - begin]
        pages = b"".join(self._pages[page] for page in range(first, last))
        return pages[start - first * PAGE : stop - first * PAGE]


def _array_header(file: ShardFile) -> ShardHeader:
    if file.size == 0:
        raise BadTable("not_a_table", "the file is empty; expected an npz or a safetensors file")
    # The readers of headers only slice a file: they map no data.
    memory = cast(mmap.mmap, _HeaderBytes(file))
    columns = npz_columns(memory, Path()) if format_of(memory) == "npz" else safetensors_columns(memory)
    rows = check_columns(columns, sys.maxsize)
    fields = {column.name: column.info for column in columns}
    if not all(_is_in_place(column) for column in columns):
        return ShardHeader(file.uri, fields, None)
    stored = {column.name: stored_column(column) for column in columns}
    return ShardHeader(file.uri, fields, ShardEntry(file.uri, file.size, file.pin, rows, stored))


def _parquet_header(file: ShardFile) -> ShardHeader:
    tail = file.read(max(file.size - PAGE, 0), file.size)
    size = footer_size(file.size, tail[-TAIL:])
    content = tail[-size:] if size <= len(tail) else file.read(file.size - size, file.size)
    footer = read_footer(content, file.size)
    return ShardHeader(file.uri, footer.fields, ShardEntry(file.uri, file.size, file.pin, footer.rows, footer=content))


def _is_in_place(column: Column) -> bool:
    return not column.packed and is_in_order(column)
