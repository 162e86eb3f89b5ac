"""Byte ranges of shards: who reads them, and which ranges are joined to one read."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

import numpy as np

from unitrank_tables.sizes import MiB

MOST_AT_ONCE = 16 * MiB
"""Bytes of one request, and of the rows that a table reads before it decodes them."""
WASTE = 40
"""Two ranges are read as one where the gap between them has at most 1/40 of their bytes."""


class ByteRange(NamedTuple):
    """The bytes `start` to `stop` (exclusive) of a shard. `shard`: its position in the index."""

    shard: int
    start: int
    stop: int


class RangeReader(Protocol):
    """Reads byte ranges of the shards of one dataset."""

    def read(self, ranges: Sequence[ByteRange]) -> list[bytes]:
        """The bytes of each range. Raises an error with code and detail if a shard has changed."""
        ...

    def close(self) -> None:
        """Close the files of the shards."""
        ...


class RowRun(NamedTuple):
    """Rows of a shard that are read as one range: `first` to `last` (exclusive)."""

    first: int
    last: int


def runs(rows: np.ndarray, width: int) -> list[RowRun]:
    """The runs that cover these ascending rows. `width`: bytes of a row.

    A run has at most `MOST_AT_ONCE` bytes, or one row.
    """
    breaks = np.flatnonzero(np.diff(rows) > 1) + 1
    starts, stops = rows[np.r_[0, breaks]].tolist(), (rows[np.r_[breaks - 1, len(rows) - 1]] + 1).tolist()
    joined: list[RowRun] = []
    needed = 0
    for first, last in zip(starts, stops, strict=True):
        gap = first - joined[-1].last if joined else 0
        if joined and gap * WASTE <= needed + last - first:
            joined[-1] = RowRun(joined[-1].first, last)
            needed += last - first
        else:
            joined.append(RowRun(first, last))
            needed = last - first
    most = max(1, MOST_AT_ONCE // max(width, 1))
    return [RowRun(start, min(start + most, run.last)) for run in joined for start in range(run.first, run.last, most)]


def requests(ranges: Sequence[ByteRange]) -> Iterator[list[ByteRange]]:
    """The ranges in requests of at most `MOST_AT_ONCE` bytes, or of one range."""
    request: list[ByteRange] = []
    size = 0
    for each in ranges:
        if request and size + each.stop - each.start > MOST_AT_ONCE:
            yield request
            request, size = [], 0
        request.append(each)
        size += each.stop - each.start
    if request:
        yield request
