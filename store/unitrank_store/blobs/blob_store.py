"""Models, datasets and large results as files that are named by their content, in a local folder or behind an fsspec URL."""

import hashlib
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

import fsspec.core
from fsspec.implementations.local import LocalFileSystem

from unitrank_store.blobs.backends import BlobBackend, FolderBackend, RemoteBackend
from unitrank_store.blobs.digests import hex_of
from unitrank_store.errors import RecordNotFound, SizeExceeded
from unitrank_store.settings import Settings

DAY = 24 * 3600.0


class BlobStore:
    """Contents by digest: the same bytes are stored once, and a digest that exists is complete.

    `cache` is where `path` keeps local copies of remote contents, `cache_bytes` of them at most where that is not None; by
    default a folder that goes with the object. `quota`: the bytes that all contents may have together.
    """

    def __init__(self, url: str, cache: Path | None = None, *, quota: int | None = None, cache_bytes: int | None = None) -> None:
        self.quota = quota
        self._backend = _backend_at(url, cache, cache_bytes)

    @classmethod
    def of(cls, settings: Settings) -> "BlobStore":
        """The blob store that the operator has set."""
        return cls(settings.blobs_url, settings.state / "cache", quota=settings.quota_bytes, cache_bytes=settings.cache_bytes)

    @contextmanager
    def writer(self, limit: int | None = None) -> Iterator["BlobWriter"]:
        """Takes bytes and commits them when the block ends; when it raises, nothing is left.

        Inside the block `BlobWriter.path` can be read, so that a content is checked before it is stored.
        """
        with self.draft() as spooled:
            with spooled.open("wb") as file:
                sink = BlobWriter(file, spooled, limit)
                yield sink
                file.flush()
                os.fsync(file.fileno())
            self._backend.put(spooled, hex_of(sink.digest))

    @property
    def spool(self) -> Path:
        """The local folder of drafts, on the disk where contents end up; `sweep` removes what lies there for a day."""
        return self._backend.spool

    def incoming(self, limit: int | None = None) -> "IncomingBlob":
        """Takes at most `limit` bytes over some time, until `commit` or `abort`."""
        return IncomingBlob(self.writer(limit))

    @contextmanager
    def draft(self) -> Iterator[Path]:
        """An empty local file to write to, gone when the block ends; after a day `sweep` finds what a killed process left."""
        self._backend.spool.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle, name = tempfile.mkstemp(dir=self._backend.spool, prefix="incoming-")
        os.close(handle)
        try:
            yield Path(name)
        finally:
            Path(name).unlink(missing_ok=True)

    def path(self, digest: str) -> Path:
        """A local file with this content, never to be written to. Raises RecordNotFound, and Corrupt for a damaged remote."""
        with _named(digest):
            return self._backend.path(hex_of(digest))

    def open(self, digest: str) -> BinaryIO:
        """The content from its first byte. Raises RecordNotFound."""
        with _named(digest):
            return self._backend.open(hex_of(digest))

    def size(self, digest: str) -> int:
        """In bytes. Raises RecordNotFound."""
        with _named(digest):
            return self._backend.size(hex_of(digest))

    def exists(self, digest: str) -> bool:
        return self._backend.exists(hex_of(digest))

    def delete(self, digest: str) -> None:
        """Afterwards the content is not there, whether it was or not."""
        self._backend.delete(hex_of(digest))

    def aged(self, seconds: float = DAY) -> Iterator[str]:
        """The digests of what was stored longer ago than that."""
        return (f"sha256:{name}" for name in self._backend.aged(seconds))

    def sweep(self, seconds: float = DAY) -> int:
        """Remove what a process that was killed left on its way in, so long ago; how much there was."""
        deleted = 0
        for file in self._backend.spool.glob("*-*"):
            # A writer may be done with it meanwhile.
            with suppress(FileNotFoundError):
                if file.stat().st_mtime < time.time() - seconds:
                    file.unlink()
                    deleted += 1
        return deleted


class BlobWriter:
    """Hashes while it writes; `digest` and `size` are of what was written so far."""

    def __init__(self, file: BinaryIO, path: Path, limit: int | None) -> None:
        self.size = 0
        self._file = file
        self._path = path
        self._limit = limit
        self._hash = hashlib.sha256()

    def write(self, data: bytes | bytearray | memoryview) -> int:
        """Write the bytes and return their number. Raises SizeExceeded before a write that passes the limit."""
        count = memoryview(data).nbytes
        size = self.size + count
        if self._limit is not None and size > self._limit:
            raise SizeExceeded(f"more than the {self._limit} bytes that are allowed")
        self._file.write(data)
        self._hash.update(data)
        self.size = size
        return count

    def flush(self) -> None:
        """Nothing of what was written is held back from `path`."""
        self._file.flush()

    @property
    def digest(self) -> str:
        return f"sha256:{self._hash.hexdigest()}"

    @property
    def path(self) -> Path:
        """The bytes so far as a local file, which is deleted or renamed once the block ends."""
        self.flush()
        return self._path


class IncomingBlob:
    """A content that arrives in pieces; nothing is stored before `commit`."""

    def __init__(self, writing: AbstractContextManager[BlobWriter]) -> None:
        self._writing = writing
        self._writer = writing.__enter__()
        self._open = True

    def write(self, data: bytes) -> None:
        """Append a piece. Raises SizeExceeded past the limit, and OSError."""
        self._writer.write(data)

    def commit(self) -> str:
        """Store the content and return its digest. When it raises, nothing is left."""
        self._open = False
        self._writing.__exit__(None, None, None)
        return self._writer.digest

    def abort(self) -> None:
        """Delete the bytes that were written; no effect after `commit`."""
        if self._open:
            self._open = False
            # A full disk raises once more when the file is closed.
            with suppress(_Aborted, OSError):
                self._writing.__exit__(_Aborted, _Aborted(), None)


class _Aborted(Exception):
    """Ends a writer's block without storing anything."""


def _backend_at(url: str, cache: Path | None, cache_bytes: int | None) -> BlobBackend:
    filesystem, root = fsspec.core.url_to_fs(url)
    if isinstance(filesystem, LocalFileSystem):
        return FolderBackend(Path(root))
    return RemoteBackend(filesystem, root, cache, cache_bytes)


@contextmanager
def _named(digest: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise RecordNotFound(f"no stored content {digest}") from error
