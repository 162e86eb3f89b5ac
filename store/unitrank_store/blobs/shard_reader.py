"""Reads byte ranges of the shards of one dataset, from where the shards are."""

import threading
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path

from unitrank_store.blobs.pinned_files import FileState, PinnedFile, PinnedLocalFile, pinned
from unitrank_store.blobs.range_cache import RangeCache
from unitrank_store.blobs.sources import Sources
from unitrank_tables.sharded.index import ShardIndex
from unitrank_tables.sharded.ranges import WASTE, ByteRange
from unitrank_tables.sizes import GiB, MiB

THREADS = 16
"""Ranges of remote shards that are read at the same time."""
PIECE = 4 * MiB
"""A longer range of a remote shard is read in pieces of this size, at the same time."""
MOST_AHEAD = 8 * MiB
MOST_STREAMS = 1000
CACHE_BYTES = 4 * GiB


class ShardReader:
    """A `RangeReader` over the files of an index.

    Ranges of remote files are kept in a local cache. Where a caller reads a shard from front to
    back, the reader reads ahead: at most 1/40 of the bytes that the caller has read in a row.

    `folder`: for the cache. `cache_bytes`: maximum bytes of the cache.
    """

    def __init__(self, index: ShardIndex, sources: Sources, folder: Path, cache_bytes: int = CACHE_BYTES) -> None:
        self._index = index
        self._sources = sources
        self._cache = RangeCache(folder, cache_bytes)
        self._files: dict[int, PinnedFile] = {}
        self._streams: OrderedDict[tuple[int, int], int] = OrderedDict()
        self._ahead: dict[int, list[Future[bytes]]] = {}
        self._threads: ThreadPoolExecutor | None = None
        self._lock = threading.Lock()

    def read(self, ranges: Sequence[ByteRange]) -> list[bytes]:
        """The bytes of each range.

        Raises ValueError for a range outside of its shard, ShardChanged, and BadSource.
        """
        for each in ranges:
            if not 0 <= each.shard < len(self._index.shards) or not 0 <= each.start <= each.stop <= self._size(each.shard):
                raise ValueError(f"{each} is not a range of a shard")
        if all(isinstance(self._file(each.shard), PinnedLocalFile) for each in ranges):
            return [self._fetched(*each) for each in ranges]
        # Otherwise the bytes that are under way would be read twice.
        wait([future for each in ranges for future in self._ahead.pop(each.shard, [])])
        pieces = [self._pool().map(self._cached, _pieces(each)) for each in ranges]
        contents = [b"".join(piece) for piece in pieces]
        for each in ranges:
            self._read_ahead(each)
        return contents

    def close(self) -> None:
        """Stop reading ahead."""
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)

    def _cached(self, each: ByteRange) -> bytes:
        return self._cache.read(each.shard, each.start, each.stop, lambda start, stop: self._fetched(each.shard, start, stop))

    def _fetched(self, shard: int, start: int, stop: int) -> bytes:
        entry = self._index.shards[shard]
        return self._file(shard).read(start, stop, FileState(entry.size, entry.pin))

    def _file(self, shard: int) -> PinnedFile:
        with self._lock:
            if shard not in self._files:
                self._files[shard] = pinned(self._sources.file(self._index.shards[shard].uri))
            return self._files[shard]

    def _size(self, shard: int) -> int:
        return self._index.shards[shard].size

    def _read_ahead(self, last: ByteRange) -> None:
        read = self._streams.pop((last.shard, last.start), 0) + last.stop - last.start
        self._streams[(last.shard, last.stop)] = read
        if len(self._streams) > MOST_STREAMS:
            self._streams.popitem(last=False)
        ahead = min(read // WASTE, MOST_AHEAD, self._size(last.shard) - last.stop)
        # An error shows when the range is read.
        ahead_pieces = _pieces(ByteRange(last.shard, last.stop, last.stop + ahead))
        self._ahead.setdefault(last.shard, []).extend(self._pool().submit(self._cached, piece) for piece in ahead_pieces)

    def _pool(self) -> ThreadPoolExecutor:
        if self._threads is None:
            self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="shards")
        return self._threads


def _pieces(each: ByteRange) -> list[ByteRange]:
    return [ByteRange(each.shard, start, min(start + PIECE, each.stop)) for start in range(each.start, each.stop, PIECE)]
