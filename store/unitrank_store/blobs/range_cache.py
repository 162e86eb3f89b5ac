"""Local copies of the byte ranges that were read from remote shards.

A job reads the same rows in several passes; each byte comes over the network once.
"""

import os
import tempfile
import threading
import weakref
from bisect import bisect_left, bisect_right
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

MOST_INTERVALS = 10_000
"""A copy of more separate intervals is deleted: their list would take too much memory."""


class RangeCache:
    """Copies of ranges, in files without a name in `folder`. Threads may share it.

    `most_bytes`: the least recently used shards are deleted beyond it.
    """

    def __init__(self, folder: Path, most_bytes: int) -> None:
        self._folder = folder
        self._most_bytes = most_bytes
        self._copies: OrderedDict[int, _SparseCopy] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def read(self, shard: int, start: int, stop: int, fetch: Callable[[int, int], bytes]) -> bytes:
        """The bytes of a shard. `fetch` reads the bytes that the copy lacks."""
        with self._lock:
            copy = self._copies.get(shard) or _SparseCopy(self._folder)
            self._copies[shard] = copy
            self._copies.move_to_end(shard)
            gaps = copy.missing(start, stop)
        for begin, end in gaps:
            content = fetch(begin, end)
            self._keep(shard, copy, begin, content)
            if gaps == [(start, stop)] or len(content) != end - begin:
                return content
        with self._lock:
            is_complete = not copy.missing(start, stop)
        return copy.read(start, stop) if is_complete else fetch(start, stop)

    def _keep(self, shard: int, copy: "_SparseCopy", start: int, content: bytes) -> None:
        try:
            copy.write(start, content)
        except OSError:
            # The disk is full: the bytes are read again when they are needed again.
            return
        with self._lock:
            copy.add(start, start + len(content))
            if self._copies.get(shard) is copy:
                self._bytes += len(content)
                if copy.intervals > MOST_INTERVALS:
                    self._bytes -= self._copies.pop(shard).bytes
            while self._bytes > self._most_bytes and self._copies:
                self._bytes -= self._copies.popitem(last=False)[1].bytes


class _SparseCopy:
    """A file with holes: the bytes that were read from a shard, at their own offsets."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor, name = tempfile.mkstemp(dir=folder, prefix="shard-")
        os.unlink(name)
        self._descriptor = descriptor
        self._starts: list[int] = []
        self._stops: list[int] = []
        self.bytes = 0
        # Another thread may still read the copy when the cache deletes it.
        weakref.finalize(self, os.close, descriptor)

    @property
    def intervals(self) -> int:
        return len(self._starts)

    def missing(self, start: int, stop: int) -> list[tuple[int, int]]:
        """The parts of a range that the file lacks."""
        gaps = []
        for index in range(bisect_right(self._stops, start), len(self._starts)):
            if self._starts[index] >= stop:
                break
            if start < self._starts[index]:
                gaps.append((start, self._starts[index]))
            start = max(start, self._stops[index])
        if start < stop:
            gaps.append((start, stop))
        return gaps

    def add(self, start: int, stop: int) -> None:
        """Note that the file has these bytes."""
        first, last = bisect_left(self._stops, start), bisect_right(self._starts, stop)
        before = sum(self._stops[first:last]) - sum(self._starts[first:last])
        start, stop = min([start, *self._starts[first:last]]), max([stop, *self._stops[first:last]])
        self._starts[first:last], self._stops[first:last] = [start], [stop]
        self.bytes += stop - start - before

    def write(self, start: int, content: bytes) -> None:
        os.pwrite(self._descriptor, content, start)

    def read(self, start: int, stop: int) -> bytes:
        return os.pread(self._descriptor, stop - start, start)
