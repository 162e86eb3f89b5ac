"""A local folder of blobs. A blob is believed only if it is a regular file."""

import os
import re
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4

from unitrank_store.blobs.digests import verified
from unitrank_store.errors import Corrupt
from unitrank_tables.chunk_digests import ChunkDigests, ChunkHasher
from unitrank_tables.sizes import MiB

BLOB_NAME = re.compile(r"[0-9a-f]{64}")


class FolderBackend:
    """A local folder. A file gets its name only after its content is on the disk."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.spool = root / "incoming"

    def put(self, file: Path, name: str, digests: ChunkDigests) -> None:
        target = self.path_of(name)
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._write_digests(name, digests)
        if target.is_dir():
            _remove(target)
        file.replace(target)
        _sync(target.parent)

    def path(self, name: str) -> Path:
        path = self.path_of(name)
        path.stat()
        return path

    def open(self, name: str) -> BinaryIO:
        return _open_regular(self.path_of(name))

    def open_local(self, name: str) -> BinaryIO:
        return self.open(name)

    def digests(self, name: str) -> ChunkDigests:
        try:
            with _open_regular(self._digests_path(name)) as file:
                digests = ChunkDigests.from_bytes(file.read())
            if digests.digest == f"sha256:{name}":
                return digests
        except (FileNotFoundError, ValueError, Corrupt):
            # An earlier version stored the blob, or the disk damaged the digests.
            pass
        digests = self._hashed(name)
        # On a full or read-only disk, the next reader computes the digests again.
        with suppress(OSError):
            self._write_digests(name, digests)
        return digests

    def _hashed(self, name: str) -> ChunkDigests:
        """Verify the whole file, and return the digests of its chunks. Raises Corrupt."""
        hasher = ChunkHasher()
        with self.open(name) as file:
            for piece in verified(iter(partial(file.read, MiB), b""), f"sha256:{name}"):
                hasher.update(piece)
        return hasher.digests(f"sha256:{name}")

    def _digests_path(self, name: str) -> Path:
        return self.path_of(name).with_suffix(".chunks")

    def _write_digests(self, name: str, digests: ChunkDigests) -> None:
        """Write the digests of chunks. A file that a power failure cuts is written again later."""
        self.spool.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle, draft = tempfile.mkstemp(dir=self.spool, prefix="chunks-")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(digests.to_bytes())
            if self._digests_path(name).is_dir():
                _remove(self._digests_path(name))
            Path(draft).replace(self._digests_path(name))
        finally:
            Path(draft).unlink(missing_ok=True)

    def size(self, name: str) -> int:
        return self.path_of(name).stat().st_size

    def exists(self, name: str) -> bool:
        return self.path_of(name).is_file()

    def delete(self, name: str) -> None:
        _remove(self.path_of(name))
        _remove(self._digests_path(name))

    def drop_copy(self, name: str) -> bool:
        return False

    def aged(self, seconds: float) -> Iterator[str]:
        return (path.name for path, status in self.files() if status.st_mtime < time.time() - seconds)

    def sweep_digests(self, seconds: float) -> int:
        deleted = 0
        for path in self.root.glob("??/*.chunks"):
            # Another process may delete the file at the same time.
            with suppress(FileNotFoundError):
                if not path.with_suffix("").exists() and path.stat().st_mtime < time.time() - seconds:
                    _remove(path)
                    deleted += 1
        return deleted

    def files(self) -> Iterator[tuple[Path, os.stat_result]]:
        """Yield the path and the status of every blob."""
        for path in self.root.glob("??/*"):
            if BLOB_NAME.fullmatch(path.name):
                with suppress(FileNotFoundError):
                    yield path, path.stat()

    def shrink(self, most: int) -> None:
        """Delete the least recently used blobs until all together have at most `most` bytes."""
        room = most
        for path, status in sorted(self.files(), key=self._used_at, reverse=True):
            room -= status.st_size
            if room < 0:
                self.delete(path.name)

    def mark_used(self, name: str) -> None:
        """Note that the blob is used now, for `shrink`.

        The digests of chunks get the time. The times of the blob stay, by which `BlobVerifier`
        recognises a file that it has verified.
        """
        with suppress(FileNotFoundError):
            os.utime(self._digests_path(name))

    def _used_at(self, file: tuple[Path, os.stat_result]) -> int:
        """When the blob was last used; a blob without digests of its chunks counts as unused."""
        try:
            return self._digests_path(file[0].name).stat().st_mtime_ns
        except FileNotFoundError:
            return 0

    def path_of(self, name: str) -> Path:
        """Return the blob's path, whether the blob is stored or not."""
        # One folder for each first byte: some filesystems are slow with 100 000 files in a folder.
        return self.root / name[:2] / name


def _open_regular(path: Path) -> BinaryIO:
    """Open a regular file for reading. Raises FileNotFoundError, and Corrupt for anything else.

    Opening a FIFO would otherwise wait for a writer.
    """
    # The status comes first: opening a device can have effects. A file may change in between.
    if stat.S_ISREG(path.stat().st_mode):
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            return os.fdopen(descriptor, "rb")
        os.close(descriptor)
    raise Corrupt(f"{path} is not a regular file")


def _remove(path: Path) -> None:
    """Delete the file, if it exists. A folder in its place is renamed: Unitrank did not make it."""
    if path.is_dir() and not path.is_symlink():
        path.rename(path.with_suffix(f".{uuid4().hex}"))
    else:
        path.unlink(missing_ok=True)


def _sync(folder: Path) -> None:
    """Write a folder to the disk: only then a renamed file keeps its name after a power failure."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
