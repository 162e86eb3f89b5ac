"""A table whose rows are in shards; it reads only the byte ranges of the rows that it needs."""

from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Literal, NamedTuple, Protocol, Self

import numpy as np

from unitrank_tables.columns import ColumnInfo
from unitrank_tables.elements import Rows, RowSelection
from unitrank_tables.errors import BadTable
from unitrank_tables.sharded.arrays import ArrayShard
from unitrank_tables.sharded.index import ShardEntry, ShardIndex
from unitrank_tables.sharded.parquet import DecodedChunks, ParquetShard
from unitrank_tables.sharded.ranges import MOST_AT_ONCE, ByteRange, RangeReader, requests

Piece = bytes
"""The bytes of one range. `ShardedTable.bytes` hides the name of the type."""
MOST_ROWS = 1 << 20
"""Rows that are read before they are decoded: their numbers take 8 bytes each meanwhile."""


class ShardRows(Protocol):
    """The rows of one shard in one file format."""

    def width(self, field: str) -> int:
        """Bytes of a row of the field, in memory or in the file."""

    def reach(self, field: str, row: int) -> int:
        """The row before which a read that begins at `row` must end."""

    def plan(self, field: str, rows: np.ndarray) -> list[ByteRange]:
        """The ranges that must be read for these ascending rows."""

    def decode(self, field: str, rows: np.ndarray, pieces: Sequence[bytes]) -> Rows:
        """These ascending rows, from the bytes of each range of `plan`."""


class _Segment(NamedTuple):
    """Rows of one shard.

    `rows`: ascending, each once. `taken`: for each row that is read, its index; None: all in order.
    """

    shard: int
    rows: np.ndarray
    taken: np.ndarray | None


class ShardedTable:
    """The fields and rows of the shards of an index, in the order of the index.

    `ranges`: reads the bytes; `close` closes it. Nothing is held for each row.
    """

    format: Literal["shards"] = "shards"

    def __init__(self, index: ShardIndex, ranges: RangeReader) -> None:
        self.fields: dict[str, ColumnInfo] = index.fields
        self.examples = index.rows
        self._ranges = ranges
        self._starts = np.cumsum([0, *(shard.rows for shard in index.shards)])
        decoded = DecodedChunks()
        self._shards = [_rows_of(number, entry, index.fields, decoded) for number, entry in enumerate(index.shards)]

    @property
    def is_parquet(self) -> bool:
        """Whether a read runs native code on the bytes of a shard."""
        return any(isinstance(shard, ParquetShard) for shard in self._shards)

    def read(self, field: str, rows: RowSelection) -> Rows:
        """As `Table.read`. Raises also the errors of the reader of ranges."""
        if field not in self.fields:
            raise KeyError(field)
        if isinstance(rows, slice):
            selected = range(self.examples)[rows]
            if selected.step == 1:
                return self._joined(field, len(selected), self._contiguous(field, selected.start, selected.stop))
            rows = np.array(selected, dtype=np.intp)
        numbers = _checked(np.asarray(rows, dtype=np.intp), self.examples)
        order = np.argsort(numbers, axis=None, kind="stable")
        ascending = self._joined(field, numbers.size, self._scattered(field, numbers.reshape(-1)[order]))
        picked = np.empty_like(ascending)
        picked[order] = ascending
        return picked.reshape(*numbers.shape, *ascending.shape[1:])

    def distinct(self, field: str, most: int) -> list[str | int | float] | None:
        """As `Table.distinct`. The column is read in blocks."""
        if len(self.fields[field]["shape"]) != 1:
            return None
        values = self.read(field, slice(0, 0))
        for start in range(0, self.examples, MOST_ROWS):
            block = np.unique(self.read(field, slice(start, start + MOST_ROWS)))
            values = np.unique(np.concatenate([values, block]))[:most]
        smallest: list[str | int | float] = values.tolist()
        return smallest

    def bytes(self, field: str) -> int:
        """The unpacked size of the field, in bytes."""
        counts = np.diff(self._starts).tolist()
        return sum(count * shard.width(field) for count, shard in zip(counts, self._shards, strict=True))

    def close(self) -> None:
        """As in `Table`."""
        self._ranges.close()

    def _contiguous(self, field: str, start: int, stop: int) -> Iterator[_Segment]:
        shard = int(np.searchsorted(self._starts, start, side="right")) - 1
        while start < stop:
            base = int(self._starts[shard])
            reach = base + self._shards[shard].reach(field, start - base)
            end = min(stop, start + MOST_ROWS, reach, int(self._starts[shard + 1]))
            yield _Segment(shard, np.arange(start, end) - base, None)
            start = end
            shard += start == self._starts[shard + 1]

    def _scattered(self, field: str, rows: np.ndarray) -> Iterator[_Segment]:
        """The segments of ascending rows, which may repeat."""
        bounds = np.searchsorted(rows, self._starts)
        for shard in np.flatnonzero(np.diff(bounds)).tolist():
            local = rows[bounds[shard] : bounds[shard + 1]] - self._starts[shard]
            while len(local):
                count = int(np.searchsorted(local, self._shards[shard].reach(field, int(local[0]))))
                unique, taken = np.unique(local[:count], return_inverse=True)
                yield _Segment(shard, unique, None if len(unique) == count else taken)
                local = local[count:]

    def _joined(self, field: str, count: int, segments: Iterator[_Segment]) -> Rows:
        """The rows of the segments, one after the other. `count`: the number of rows."""
        parts = self._decoded(field, segments)
        info = self.fields[field]
        if info["dtype"] == "str":
            # The shards may have strings of different widths; numpy widens them.
            strings = list(parts)
            return np.concatenate(strings) if strings else np.empty(0, "U1")
        joined = np.empty((count, *(size or 0 for size in info["shape"][1:])), info["dtype"])
        at = 0
        for part in parts:
            joined[at : at + len(part)] = part
            at += len(part)
        return joined

    def _decoded(self, field: str, segments: Iterator[_Segment]) -> Iterator[Rows]:
        for group in _grouped(self._planned(field, segments)):
            pieces = iter(self._read([each for _, ranges in group for each in ranges]))
            for segment, ranges in group:
                rows = self._shards[segment.shard].decode(field, segment.rows, [next(pieces) for _ in ranges])
                yield rows if segment.taken is None else rows[segment.taken]

    def _planned(self, field: str, segments: Iterator[_Segment]) -> Iterator[tuple[_Segment, list[ByteRange]]]:
        return ((segment, self._shards[segment.shard].plan(field, segment.rows)) for segment in segments)

    def _read(self, ranges: list[ByteRange]) -> Iterator[Piece]:
        for request in requests(ranges):
            pieces = self._ranges.read(request)
            for (_, start, stop), piece in zip(request, pieces, strict=True):
                if len(piece) != stop - start:
                    raise BadTable("dataset_changed", f"a shard has {len(piece)} bytes where the index names {stop - start}")
                yield piece

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


_Planned = tuple[_Segment, list[ByteRange]]


def _grouped(planned: Iterator[_Planned]) -> Iterator[list[_Planned]]:
    """The segments in groups of at most `MOST_AT_ONCE` bytes, or of one segment."""
    group: list[_Planned] = []
    size = 0
    for segment, ranges in planned:
        more = sum(stop - start for _, start, stop in ranges)
        if group and size + more > MOST_AT_ONCE:
            yield group
            group, size = [], 0
        group.append((segment, ranges))
        size += more
    if group:
        yield group


def _rows_of(number: int, entry: ShardEntry, fields: dict[str, ColumnInfo], decoded: DecodedChunks) -> ShardRows:
    return ParquetShard(number, entry, fields, decoded) if entry.footer else ArrayShard(number, entry, fields)


def _checked(rows: np.ndarray, count: int) -> np.ndarray:
    """The rows as numbers from 0. Raises IndexError for an unknown row, as numpy does."""
    if rows.size and (rows.min() < -count or rows.max() >= count):
        raise IndexError(f"row {int(rows.max())} or {int(rows.min())} is not one of the {count} rows")
    return np.where(rows < 0, rows + count, rows)
