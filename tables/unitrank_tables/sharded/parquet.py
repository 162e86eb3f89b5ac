"""Rows of one Parquet shard, decoded by pyarrow: a read fetches whole chunks of row groups.

pyarrow is native code, so only the confined process that runs a model decodes.
"""

import io
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np

from unitrank_tables.columns import ColumnInfo
from unitrank_tables.elements import Rows
from unitrank_tables.errors import BadTable
from unitrank_tables.formats.parquet_footer import Footer, null_values, read_footer
from unitrank_tables.sharded.index import ShardEntry
from unitrank_tables.sharded.ranges import ByteRange
from unitrank_tables.sizes import GiB, MiB

DECODED_BYTES = 256 * MiB
"""Bytes of decoded chunks that a table keeps for the next read."""
TEXT_BYTES = GiB
"""Bytes of one chunk of strings in memory: each string takes the room of the longest one."""


class DecodedChunks:
    """The chunks that were decoded last. All shards of a table share it."""

    def __init__(self) -> None:
        self._chunks: OrderedDict[tuple[int, int, str], Rows] = OrderedDict()
        self._bytes = 0

    def get(self, key: tuple[int, int, str]) -> Rows | None:
        """The chunk with this key: shard, row group and field."""
        if key in self._chunks:
            self._chunks.move_to_end(key)
        return self._chunks.get(key)

    def keep(self, key: tuple[int, int, str], chunk: Rows) -> None:
        """Keep a chunk; the ones that were not used longest are dropped."""
        self._chunks[key] = chunk
        self._bytes += chunk.nbytes
        while self._bytes > DECODED_BYTES and len(self._chunks) > 1:
            self._bytes -= self._chunks.popitem(last=False)[1].nbytes


class ParquetShard:
    """The rows of one shard. `number`: its position in the index."""

    def __init__(self, number: int, entry: ShardEntry, fields: dict[str, ColumnInfo], decoded: DecodedChunks) -> None:
        self._number = number
        self._entry = entry
        self._fields = fields
        self._decoded = decoded
        self._planned: dict[tuple[int, str], Rows] = {}

    def width(self, field: str) -> int:
        """Bytes of a row of the field in memory; 1 for strings, whose width is not known."""
        info = self._fields[field]
        size = 1 if info["dtype"] == "str" else np.dtype(info["dtype"]).itemsize
        return size * int(np.prod([axis or 0 for axis in info["shape"][1:]]))

    def reach(self, field: str, row: int) -> int:
        """The end of the row group of this row: a read takes rows of one row group."""
        group = self._footer.groups[self._group_of(row)]
        return group.first + group.rows

    def plan(self, field: str, rows: np.ndarray) -> list[ByteRange]:
        """The chunk of the row group of these rows; no range if it is decoded already."""
        number = self._group_of(int(rows[0]))
        chunk = self._decoded.get((self._number, number, field))
        if chunk is not None:
            self._planned[number, field] = chunk
            return []
        return [ByteRange(self._number, *self._footer.groups[number].chunks[field])]

    def decode(self, field: str, rows: np.ndarray, pieces: Sequence[bytes]) -> Rows:
        """These ascending rows of one row group."""
        number = self._group_of(int(rows[0]))
        chunk = self._planned.pop((number, field), None)
        if chunk is None:
            chunk = self._chunk(number, field, pieces[0])
            self._decoded.keep((self._number, number, field), chunk)
        return np.ascontiguousarray(chunk[rows - self._footer.groups[number].first])

    @cached_property
    def _footer(self) -> Footer:
        return read_footer(self._entry.footer, self._entry.size)

    @cached_property
    def _metadata(self) -> Any:
        return _pyarrow_parquet().read_metadata(io.BytesIO(b"PAR1" + self._entry.footer))

    def _group_of(self, row: int) -> int:
        return bisect_right(self._footer.groups, row, key=lambda group: group.first) - 1

    def _chunk(self, number: int, field: str, content: bytes) -> Rows:
        import pyarrow

        group = self._footer.groups[number]
        try:
            source = pyarrow.PythonFile(_ChunkFile(self._entry.size, group.chunks[field].start, content), mode="r")
            file = _pyarrow_parquet().ParquetFile(source, metadata=self._metadata, pre_buffer=False)
            # Empty row groups are left out here, and not by pyarrow.
            position = [index for index in range(file.num_row_groups) if self._metadata.row_group(index).num_rows][number]
            column = file.read_row_group(position, columns=[field], use_threads=False).column(0)
            flat = _values(column.combine_chunks(), field, group.rows, self._fields[field])
        except (pyarrow.ArrowException, OSError, ValueError, IndexError) as error:
            raise self._damaged(field, str(error)) from error
        except BadTable as error:
            raise BadTable(error.code, f"in {self._entry.uri!r}: {error.detail}") from error
        return flat.reshape(group.rows, *(axis or 0 for axis in self._fields[field]["shape"][1:]))

    def _damaged(self, field: str, why: str) -> BadTable:
        return BadTable("damaged", f"field {field!r} of {self._entry.uri!r} cannot be decoded: {why[:200]}")


class _ChunkFile(io.RawIOBase):
    """A file of which only the bytes of one chunk are known."""

    def __init__(self, size: int, start: int, content: bytes) -> None:
        self._size = size
        self._start = start
        self._content = content
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = 0) -> int:
        self._at = offset + (0, self._at, self._size)[whence]
        return self._at

    def read(self, size: int = -1) -> bytes:
        start = self._at - self._start
        stop = len(self._content) if size < 0 else start + size
        if start < 0 or stop > len(self._content):
            raise OSError(f"the file names bytes {self._at} to {self._at + size}, which are not in this chunk")
        self._at += stop - start
        return self._content[start:stop]


def _pyarrow_parquet() -> Any:
    try:
        import pyarrow.parquet
    except ImportError as error:
        detail = "the dataset is in Parquet files, and the worker has no pyarrow; the operator installs it: pip install "
        raise BadTable("parquet_not_installed", f"{detail}'unitrank[parquet]'") from error
    return pyarrow.parquet


def _values(array: Any, field: str, rows: int, info: ColumnInfo) -> Rows:
    """All values of the rows, one after the other. Any: pyarrow has no types.

    Raises BadTable for missing values, lists of unequal length and long strings.
    """
    import pyarrow

    width = int(np.prod([axis or 0 for axis in info["shape"][1:]]))
    array = getattr(array, "storage", array)
    _check_complete(array, field)
    if pyarrow.types.is_list(array.type) or pyarrow.types.is_large_list(array.type):
        lengths = np.diff(array.offsets.to_numpy())
        if (lengths != width).any():
            row = int(np.flatnonzero(lengths != width)[0])
            detail = f"field {field!r} has a list of {int(lengths[row])} values in row {row} of a row group, and others of {width}"
            raise BadTable("unequal_lists", f"{detail}; all lists must have the same length")
    if array.type.num_fields != 0 and not pyarrow.types.is_dictionary(array.type):
        array = array.flatten()
        _check_complete(array, field)
    if pyarrow.types.is_dictionary(array.type):
        array = array.dictionary_decode()
        _check_complete(array, field)
    if len(array) != rows * width:
        raise BadTable("damaged", f"field {field!r} has {len(array)} values in a row group of {rows} rows of {width}")
    if info["dtype"] == "str":
        return _text(array.to_pylist(), field)
    values: Rows = array.to_numpy(zero_copy_only=False)
    if values.dtype.name != info["dtype"]:
        raise BadTable("damaged", f"field {field!r} is {values.dtype.name}, and its footer says {info['dtype']}")
    return values


def _check_complete(array: Any, field: str) -> None:
    if array.null_count:
        raise null_values(field, array.null_count)


def _text(texts: list[str], field: str) -> Rows:
    longest = max(map(len, texts), default=0)
    if longest * 4 * len(texts) > TEXT_BYTES:
        detail = f"field {field!r} has a string of {longest} characters, and each string takes the room of the longest one"
        raise BadTable("unsupported_dtype", f"{detail}; use shorter names, or smaller row groups")
    return np.array(texts, dtype=f"U{max(longest, 1)}")
