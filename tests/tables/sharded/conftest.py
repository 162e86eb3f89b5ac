"""Shards in a folder, a reader that counts the bytes it reads, and the table over them."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from unitrank_tables.sharded.headers import ShardFile, ShardHeader, index_of, read_shard_header
from unitrank_tables.sharded.ranges import ByteRange
from unitrank_tables.sharded.table import ShardedTable


@dataclass
class FolderReader:
    """Reads shards from files, and notes each range."""

    paths: Sequence[Path]
    ranges: list[ByteRange] = field(default_factory=list)
    is_closed: bool = False

    def read(self, ranges: Sequence[ByteRange]) -> list[bytes]:
        self.ranges += ranges
        return [read_bytes(self.paths[shard], start, stop) for shard, start, stop in ranges]

    def close(self) -> None:
        self.is_closed = True

    @property
    def bytes_read(self) -> int:
        return sum(each.stop - each.start for each in self.ranges)


def read_bytes(path: Path, start: int, stop: int) -> bytes:
    with path.open("rb") as file:
        file.seek(start)
        return file.read(stop - start)


def header(path: Path) -> ShardHeader:
    return read_shard_header(ShardFile(path.name, path.stat().st_size, "1", lambda start, stop: read_bytes(path, start, stop)))


def sharded(paths: Sequence[Path]) -> tuple[ShardedTable, FolderReader]:
    """The table over the shards, and its reader."""
    index = index_of([header(path) for path in paths])
    assert index is not None
    reader = FolderReader(paths)
    return ShardedTable(type(index).from_bytes(index.to_bytes()), reader), reader


def cut(fields: dict[str, np.ndarray], bounds: Sequence[int]) -> list[dict[str, np.ndarray]]:
    """The rows of the fields between the bounds."""
    return [
        {name: np.ascontiguousarray(rows[start:stop]) for name, rows in fields.items()}
        for start, stop in itertools.pairwise(bounds)
    ]
