"""The places where blobs are stored: a local folder, or any filesystem that fsspec supports.

A blob's name is the 64 hexadecimal digits of its digest. A name that does not exist raises
FileNotFoundError.
"""

import os
import re
import shutil
import tempfile
import time
import weakref
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, Protocol, cast
from uuid import uuid4

from unitrank_store.blobs.digests import verified
from unitrank_tables.chunk_digests import ChunkDigests, ChunkHasher
from unitrank_tables.sizes import MiB

_NAME = re.compile(r"[0-9a-f]{64}")


class BlobBackend(Protocol):
    """The functions that `BlobStore` needs of a place.

    `spool`: a local folder for files that are not complete yet.
    """

    spool: Path

    def put(self, file: Path, name: str, digests: ChunkDigests) -> None:
        """Store a spooled file and the digests of its chunks, completely or not at all.

        The file may be moved.
        """

    def path(self, name: str) -> Path:
        """Return a local file with the blob's content."""

    def open(self, name: str) -> BinaryIO:
        """Open the blob for reading."""

    def digests(self, name: str) -> ChunkDigests:
        """Return the digests of the chunks of the local file.

        A file without them is verified as a whole, and gets them. Raises Corrupt.
        """

    def size(self, name: str) -> int:
        """Return the blob's size in bytes."""

    def exists(self, name: str) -> bool:
        """Return whether the blob is stored."""

    def delete(self, name: str) -> None:
        """Delete the blob, if it is stored."""

    def drop_copy(self, name: str) -> bool:
        """Delete the local copy of a blob; return whether the blob has copies."""

    def aged(self, seconds: float) -> Iterator[str]:
        """Yield the names of the blobs that are older than `seconds`.

        Blobs are left out where the filesystem does not know their age.
        """


class FolderBackend:
    """A local folder. A file gets its name only after its content is on the disk."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.spool = root / "incoming"

    def put(self, file: Path, name: str, digests: ChunkDigests) -> None:
        target = self.path_of(name)
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._write_digests(name, digests)
        file.replace(target)
        _sync(target.parent)

    def path(self, name: str) -> Path:
        path = self.path_of(name)
        path.stat()
        return path

    def open(self, name: str) -> BinaryIO:
        return self.path_of(name).open("rb")

    def digests(self, name: str) -> ChunkDigests:
        try:
            digests = ChunkDigests.from_bytes(self._digests_path(name).read_bytes())
            if digests.digest == f"sha256:{name}":
                return digests
        except (FileNotFoundError, ValueError):
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
            Path(draft).replace(self._digests_path(name))
        finally:
            Path(draft).unlink(missing_ok=True)

    def size(self, name: str) -> int:
        return self.path_of(name).stat().st_size

    def exists(self, name: str) -> bool:
        return self.path_of(name).is_file()

    def delete(self, name: str) -> None:
        self.path_of(name).unlink(missing_ok=True)
        self._digests_path(name).unlink(missing_ok=True)

    def drop_copy(self, name: str) -> bool:
        return False

    def aged(self, seconds: float) -> Iterator[str]:
        return (path.name for path, status in self.files() if status.st_mtime < time.time() - seconds)

    def files(self) -> Iterator[tuple[Path, os.stat_result]]:
        """Yield the path and the status of every blob."""
        for path in self.root.glob("??/*"):
            if _NAME.fullmatch(path.name):
                with suppress(FileNotFoundError):
                    yield path, path.stat()

    def shrink(self, most: int) -> None:
        """Delete the least recently used blobs until all together have at most `most` bytes."""
        room = most
        for path, status in sorted(self.files(), key=lambda file: file[1].st_atime_ns, reverse=True):
            room -= status.st_size
            if room < 0:
                self.delete(path.name)

    def path_of(self, name: str) -> Path:
        """Return the blob's path, whether the blob is stored or not."""
        # One folder for each first byte: some filesystems are slow with 100 000 files in a folder.
        return self.root / name[:2] / name


class RemoteBackend:
    """An fsspec filesystem. A blob is copied to a local cache when its file is needed.

    `filesystem`: an fsspec filesystem; its type is Any because fsspec has no types.
    `root`: the folder of the blobs in the filesystem.
    `cache`: the cache's folder; None creates a temporary folder, which is deleted with this object.
    `cache_bytes`: maximum bytes of the cache; None means no limit.
    """

    def __init__(self, filesystem: Any, root: str, cache: Path | None, cache_bytes: int | None) -> None:
        self._filesystem = filesystem
        self._cache_bytes = cache_bytes
        self._root = root.rstrip("/")
        self._cache = FolderBackend(cache or self._temporary_folder())
        self.spool = self._cache.spool

    def put(self, file: Path, name: str, digests: ChunkDigests) -> None:
        # The local copy gets digests when it is copied.
        incoming, target = f"{self._root}/incoming/{uuid4().hex}", self._key(name)
        try:
            self._filesystem.makedirs(f"{self._root}/incoming", exist_ok=True)
            self._filesystem.makedirs(target.rpartition("/")[0], exist_ok=True)
            self._filesystem.put_file(str(file), incoming)
            self._filesystem.mv(incoming, target)
        finally:
            if self._filesystem.exists(incoming):
                self._filesystem.rm_file(incoming)

    def path(self, name: str) -> Path:
        if not self._cache.exists(name):
            self._download(name)
        path = self._cache.path(name)
        # The cache deletes the least recently used files. A file that is open stays readable then.
        # The time of change stays, by which a verified file is recognised.
        os.utime(path, ns=(time.time_ns(), path.stat().st_mtime_ns))
        return path

    def open(self, name: str) -> BinaryIO:
        return cast(BinaryIO, self._filesystem.open(self._key(name), "rb"))

    def digests(self, name: str) -> ChunkDigests:
        return self._cache.digests(name)

    def size(self, name: str) -> int:
        return int(self._filesystem.size(self._key(name)))

    def exists(self, name: str) -> bool:
        return bool(self._filesystem.exists(self._key(name)))

    def delete(self, name: str) -> None:
        self._cache.delete(name)
        if self.exists(name):
            self._filesystem.rm_file(self._key(name))

    def drop_copy(self, name: str) -> bool:
        self._cache.delete(name)
        return True

    def aged(self, seconds: float) -> Iterator[str]:
        if not self._filesystem.exists(self._root):
            return
        before = datetime.now(UTC) - timedelta(seconds=seconds)
        for path in self._filesystem.find(self._root):
            name = path.rpartition("/")[2]
            with suppress(NotImplementedError, FileNotFoundError):
                if _NAME.fullmatch(name) and self._filesystem.modified(path) < before:
                    yield name

    def _key(self, name: str) -> str:
        return f"{self._root}/{name[:2]}/{name}"

    def _temporary_folder(self) -> Path:
        """Create a folder that is deleted together with this object."""
        folder = tempfile.mkdtemp(prefix="unitrank-")
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        return Path(folder)

    def _download(self, name: str) -> None:
        self.spool.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle, local = tempfile.mkstemp(dir=self.spool, prefix="download-")
        hasher = ChunkHasher()
        try:
            with os.fdopen(handle, "wb") as sink, self.open(name) as source:
                for piece in verified(iter(partial(source.read, MiB), b""), f"sha256:{name}"):
                    sink.write(piece)
                    hasher.update(piece)
            if self._cache_bytes is not None:
                self._cache.shrink(max(0, self._cache_bytes - Path(local).stat().st_size))
            self._cache.put(Path(local), name, hasher.digests(f"sha256:{name}"))
        finally:
            Path(local).unlink(missing_ok=True)


def _sync(folder: Path) -> None:
    """Write a folder to the disk: only then a renamed file keeps its name after a power failure."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
