"""Verifies stored files against their digests, once for each state of a file.

Disks damage files: 4 000 bytes that became zeros gave another result under the same digest. A file
is read and hashed before its first use, and again if its inode, size or a time of change differs.
"""

import hashlib
import os
import threading
from typing import BinaryIO, NamedTuple

from unitrank_store.errors import Corrupt
from unitrank_tables.sizes import MiB

MOST_FILES = 10_000
"""Files whose state is remembered; the oldest are forgotten, and are hashed again."""


class FileState(NamedTuple):
    """The state of a file, which differs after each change.

    `mtime`, `ctime`: in nanoseconds. A program can set `mtime` back, but not `ctime`.
    """

    device: int
    inode: int
    size: int
    mtime: int
    ctime: int


class BlobVerifier:
    """Remembers which files have the bytes of their digests. Threads may share it."""

    def __init__(self) -> None:
        self._verified: dict[str, FileState] = {}
        self._lock = threading.Lock()

    def check(self, file: BinaryIO, digest: str) -> None:
        """Check that the file has the bytes of this digest. Raises Corrupt.

        The position in the file does not change.
        """
        status = os.fstat(file.fileno())
        state = FileState(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
        if self._verified.get(digest) == state:
            return
        actual = _digest(file.fileno())
        if actual != digest:
            raise Corrupt(f"the stored content {digest} is damaged: its {state.size} bytes have the digest {actual}")
        with self._lock:
            self._verified.pop(digest, None)
            while len(self._verified) >= MOST_FILES:
                del self._verified[next(iter(self._verified))]
            self._verified[digest] = state


def _digest(descriptor: int) -> str:
    actual, position = hashlib.sha256(), 0
    while piece := os.pread(descriptor, 4 * MiB, position):
        actual.update(piece)
        position += len(piece)
    return f"sha256:{actual.hexdigest()}"
