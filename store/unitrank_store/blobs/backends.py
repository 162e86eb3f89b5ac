"""The places where blobs are stored: a local folder, or any filesystem that fsspec supports.

A blob's name is the 64 hexadecimal digits of its digest. A name that does not exist raises
FileNotFoundError.
"""

import os
import shutil
import tempfile
import weakref
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, Protocol, cast
from uuid import uuid4

from unitrank_store.blobs.digests import verified
from unitrank_store.blobs.folder_backend import BLOB_NAME, FolderBackend
from unitrank_tables.chunk_digests import ChunkDigests, ChunkHasher
from unitrank_tables.sizes import MiB


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
        """Open the blob for reading. Raises Corrupt if it is not a regular file."""

    def open_local(self, name: str) -> BinaryIO:
        """Open the local file with the blob's content. Raises as `open` does."""

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

    def sweep_digests(self, seconds: float) -> int:
        """Delete digests of chunks that are older than `seconds` and have no local file.

        Return their number.
        """


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
        self._cache.mark_used(name)
        return self._cache.path(name)

    def open(self, name: str) -> BinaryIO:
        return cast(BinaryIO, self._filesystem.open(self._key(name), "rb"))

    def open_local(self, name: str) -> BinaryIO:
        self.path(name)
        return self._cache.open(name)

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
                if BLOB_NAME.fullmatch(name) and self._filesystem.modified(path) < before:
                    yield name

    def sweep_digests(self, seconds: float) -> int:
        return self._cache.sweep_digests(seconds)

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
