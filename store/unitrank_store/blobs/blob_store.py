"""The blob store: models, datasets and large results, stored under their digests."""

import hashlib
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

import fsspec.core
from fsspec.implementations.local import LocalFileSystem

from unitrank_store.blobs.backends import BlobBackend, RemoteBackend
from unitrank_store.blobs.digests import hex_of
from unitrank_store.blobs.folder_backend import FolderBackend
from unitrank_store.blobs.shard_reader import ShardReader
from unitrank_store.blobs.sources import Sources
from unitrank_store.blobs.verification import BlobVerifier
from unitrank_store.errors import Corrupt, RecordNotFound, SizeExceeded
from unitrank_store.settings import Settings
from unitrank_tables import Table, open_table
from unitrank_tables.chunk_digests import ChunkDigests, ChunkHasher, VerifiedChunks
from unitrank_tables.errors import BadTable
from unitrank_tables.sharded.index import ShardIndex
from unitrank_tables.sizes import GiB

DAY = 24 * 3600.0


class BlobStore:
    """Contents by their digest. Equal contents are stored once, and a stored content is complete.

    `url`: fsspec URL of the folder in which the blobs are stored.
    `cache`: local folder for copies of remote contents; None means a temporary folder.
    `cache_bytes`: maximum bytes of these copies; None means no limit.
    `quota`: maximum bytes of all contents; `BlobOwners.admit` enforces it. None means no limit.
    `sources`: the places that the shards of datasets may be read from, in place.
    `shard_cache_bytes`: maximum bytes that one reader of remote shards keeps on the local disk.
    """

    def __init__(
        self,
        url: str,
        cache: Path | None = None,
        *,
        quota: int | None = None,
        cache_bytes: int | None = None,
        sources: Sequence[str] = (),
        shard_cache_bytes: int = 4 * GiB,
    ) -> None:
        self.quota = quota
        self._sources = Sources(sources)
        self._shard_cache_bytes = shard_cache_bytes
        self._backend = _backend_at(url, cache, cache_bytes)
        self._verifier = BlobVerifier()
        self._verified = VerifiedChunks()

    @classmethod
    def of(cls, settings: Settings) -> "BlobStore":
        """Return the blob store of the operator's settings."""
        return cls(
            settings.blobs_url,
            settings.state / "cache",
            quota=settings.quota_bytes,
            cache_bytes=settings.cache_bytes,
            sources=settings.sources,
            shard_cache_bytes=settings.shard_cache_bytes,
        )

    @contextmanager
    def writer(self, limit: int | None = None) -> Iterator["BlobWriter"]:
        """Write a content inside a block, and store it when the block ends.

        When the block raises, nothing is stored. Inside the block `BlobWriter.path` can be read, so
        that a content is checked before it is stored. `limit`: maximum bytes of the content.
        """
        with self.draft() as spooled:
            with spooled.open("wb") as file:
                sink = BlobWriter(file, spooled, limit)
                yield sink
                file.flush()
                os.fsync(file.fileno())
            self._backend.put(spooled, hex_of(sink.digest), sink.digests)

    @property
    def spool(self) -> Path:
        """The local folder of drafts, if possible on the disk where contents are stored.

        `sweep` deletes files that are a day old.
        """
        return self._backend.spool

    def incoming(self, limit: int | None = None) -> "IncomingBlob":
        """Return a content that is written in pieces until `commit` or `abort`.

        `limit`: maximum bytes of the content.
        """
        return IncomingBlob(self.writer(limit))

    @contextmanager
    def draft(self) -> Iterator[Path]:
        """Create an empty local file, and delete it when the block ends.

        `sweep` deletes the drafts of killed processes after a day.
        """
        self._backend.spool.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle, name = tempfile.mkstemp(dir=self._backend.spool, prefix="incoming-")
        os.close(handle)
        try:
            yield Path(name)
        finally:
            Path(name).unlink(missing_ok=True)

    def path(self, digest: str) -> Path:
        """Return a local file with this content. Do not write to the file.

        Raises RecordNotFound, and Corrupt if a remote content has another digest.
        """
        with _translated(digest):
            return self._backend.path(hex_of(digest))

    def open(self, digest: str) -> BinaryIO:
        """Open the content for reading. Raises RecordNotFound."""
        with _translated(digest):
            return self._backend.open(hex_of(digest))

    def open_verified(self, digest: str) -> BinaryIO:
        """Open a local file with this content, whose bytes have the digest.

        A file is hashed at its first use and after a change. Raises RecordNotFound and Corrupt.
        """
        file = self.open_local(digest)
        try:
            self._verifier.check(file, digest)
            return file
        except Corrupt:
            file.close()
            if not self._backend.drop_copy(hex_of(digest)):
                raise
        except BaseException:
            file.close()
            raise
        # Only the local copy was damaged: the new one is verified while it is copied.
        return self.open_local(digest)

    def open_local(self, digest: str) -> BinaryIO:
        """Open a local file with this content.

        Raises RecordNotFound, and Corrupt if it is not a regular file.
        """
        with _translated(digest):
            return self._backend.open_local(hex_of(digest))

    def open_chunked(self, digest: str) -> tuple[ChunkDigests, BinaryIO]:
        """Open a local file with this content, whose reader verifies each chunk that it reads.

        Return the digests of its chunks and the file.
        A content without `chunk_digests` is verified here as a whole, and gets them. So is a local
        copy of a remote content: if it is damaged, it is copied again.
        Raises RecordNotFound and Corrupt.
        """
        if isinstance(self._backend, RemoteBackend):
            self.open_verified(digest).close()
        return self.chunk_digests(digest), self.open_local(digest)

    def chunk_digests(self, digest: str) -> ChunkDigests:
        """Return the digests of the content's chunks. Raises RecordNotFound and Corrupt."""
        self.path(digest)
        with _translated(digest):
            return self._backend.digests(hex_of(digest))

    def open_table(self, digest: str) -> Table:
        """Open the content as a table, which verifies the chunks that it reads.

        Raises RecordNotFound, and BadTable `dataset_corrupt`, also when rows are read later.
        """
        try:
            digests, file = self.open_chunked(digest)
        except Corrupt as error:
            raise BadTable("dataset_corrupt", f"{error}; upload the dataset again") from error
        with file:
            path = Path(f"/dev/fd/{file.fileno()}")
            return open_table(path, scratch=self.spool, digests=digests, verified=self._verified, ranges=self._shard_reader)

    def shard_reader(self, digest: str) -> ShardReader:
        """Return the reader of the shards of an index. Raises RecordNotFound."""
        with self.open_verified(digest) as file:
            return self._shard_reader(ShardIndex.from_bytes(file.read()))

    def _shard_reader(self, index: ShardIndex) -> ShardReader:
        return ShardReader(index, self._sources, self.spool, self._shard_cache_bytes)

    def size(self, digest: str) -> int:
        """Return the content's size in bytes. Raises RecordNotFound."""
        with _translated(digest):
            return self._backend.size(hex_of(digest))

    def exists(self, digest: str) -> bool:
        """Return whether the content is stored."""
        return self._backend.exists(hex_of(digest))

    def delete(self, digest: str) -> None:
        """Delete the content, if it is stored."""
        self._backend.delete(hex_of(digest))

    def aged(self, seconds: float = DAY) -> Iterator[str]:
        """Return the digests of the contents that are older than `seconds`."""
        return (f"sha256:{name}" for name in self._backend.aged(seconds))

    def sweep(self, seconds: float = DAY) -> int:
        """Delete drafts that are older than `seconds`, and return their number.

        So are digests of chunks whose content was not stored: their process was killed in between.
        """
        deleted = self._backend.sweep_digests(seconds)
        for file in self._backend.spool.glob("*-*"):
            # The draft's own process may delete the file at the same time.
            with suppress(FileNotFoundError):
                if file.stat().st_mtime < time.time() - seconds:
                    file.unlink()
                    deleted += 1
        return deleted


class BlobWriter:
    """A draft that is hashed while it is written.

    `size`, `digest`: the bytes written so far, and their digest.
    """

    def __init__(self, file: BinaryIO, path: Path, limit: int | None) -> None:
        self.size = 0
        self._file = file
        self._path = path
        self._limit = limit
        self._hash = hashlib.sha256()
        self._chunks = ChunkHasher()

    def write(self, data: bytes | bytearray | memoryview) -> int:
        """Write the bytes and return their number.

        Raises SizeExceeded before a write that passes the limit.
        """
        count = memoryview(data).nbytes
        size = self.size + count
        if self._limit is not None and size > self._limit:
            raise SizeExceeded(f"the content is too large: at most {self._limit} bytes are allowed")
        self._file.write(data)
        self._hash.update(data)
        self._chunks.update(data)
        self.size = size
        return count

    def flush(self) -> None:
        """Write all buffered bytes to the file at `path`."""
        self._file.flush()

    @property
    def digest(self) -> str:
        """The digest of the bytes written so far."""
        return f"sha256:{self._hash.hexdigest()}"

    @property
    def digests(self) -> ChunkDigests:
        """The digests of the chunks written so far."""
        return self._chunks.digests(self.digest)

    @property
    def path(self) -> Path:
        """The local file with the bytes written so far.

        It is deleted or renamed after the block.
        """
        self.flush()
        return self._path


class IncomingBlob:
    """A content that is written in pieces; `commit` stores it."""

    def __init__(self, writing: AbstractContextManager[BlobWriter]) -> None:
        self._writing = writing
        self._writer = writing.__enter__()
        self._open = True

    def write(self, data: bytes) -> None:
        """Append a piece. Raises SizeExceeded beyond the limit, and OSError."""
        self._writer.write(data)

    def commit(self) -> str:
        """Store the content and return its digest. When it raises, nothing is stored."""
        self._open = False
        self._writing.__exit__(None, None, None)
        return self._writer.digest

    def abort(self) -> None:
        """Delete the bytes that were written; no effect after `commit`."""
        if self._open:
            self._open = False
            # On a full disk, closing the file raises the error again.
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
def _translated(digest: str) -> Iterator[None]:
    """Raise RecordNotFound in place of FileNotFoundError."""
    try:
        yield
    except FileNotFoundError as error:
        raise RecordNotFound(f"no stored content {digest}") from error
