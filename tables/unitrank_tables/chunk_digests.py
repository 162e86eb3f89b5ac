"""Digests of a file's chunks, with which a reader verifies only the chunks that it reads."""

import hashlib
import json
import mmap
import os
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple, Self

from unitrank_tables.errors import BadTable
from unitrank_tables.sizes import MiB

CHUNK_BYTES = 4 * MiB
MOST_FILES = 10_000
"""Files whose verified chunks are remembered; the oldest are forgotten, and are hashed again."""


@dataclass(frozen=True)
class ChunkDigests:
    """The SHA-256 of each 4 MiB of a file, in hex. The last chunk can be shorter.

    `digest`: the digest of the whole file. `size`: its bytes.
    """

    digest: str
    size: int
    chunks: tuple[str, ...]

    def to_json(self) -> dict[str, object]:
        """The digests as a JSON object."""
        return {"digest": self.digest, "size": self.size, "chunks": list(self.chunks)}

    @classmethod
    def from_json(cls, value: Mapping[str, object]) -> Self:
        """The digests from the object of `to_json`. Raises ValueError if it is malformed."""
        match value:
            case {"digest": str(digest), "size": int(size), "chunks": list(chunks)}:
                return cls(digest, size, tuple(map(str, chunks)))
        raise ValueError("the digests of chunks must have a digest, a size and a list of chunks")

    def to_bytes(self) -> bytes:
        """The content of a file with the digests. Its first line is the SHA-256 of its second."""
        text = json.dumps(self.to_json()).encode()
        return hashlib.sha256(text).hexdigest().encode() + b"\n" + text

    @classmethod
    def from_bytes(cls, content: bytes) -> Self:
        """The digests from the content of `to_bytes`. Raises ValueError if it is damaged."""
        checksum, _, text = content.partition(b"\n")
        if hashlib.sha256(text).hexdigest().encode() != checksum:
            raise ValueError("the digests of chunks are damaged")
        return cls.from_json(json.loads(text))


class ChunkHasher:
    """Computes the digests of chunks while a file is written or read from its start."""

    def __init__(self) -> None:
        self._chunks: list[str] = []
        self._chunk = hashlib.sha256()
        self._room = CHUNK_BYTES
        self._size = 0

    def update(self, data: bytes | bytearray | memoryview) -> None:
        """Add the next bytes."""
        rest = memoryview(data).cast("B")
        self._size += len(rest)
        while rest:
            piece, rest = rest[: self._room], rest[self._room :]
            self._chunk.update(piece)
            self._room -= len(piece)
            if not self._room:
                self._chunks.append(self._chunk.hexdigest())
                self._chunk, self._room = hashlib.sha256(), CHUNK_BYTES

    def digests(self, digest: str) -> ChunkDigests:
        """The digests of all chunks so far. `digest`: the digest of the whole file."""
        last = [self._chunk.hexdigest()] if self._room < CHUNK_BYTES else []
        return ChunkDigests(digest, self._size, (*self._chunks, *last))


class _FileState(NamedTuple):
    """The state of a file, which differs after each change.

    `mtime`, `ctime`: in nanoseconds. A program can set `mtime` back, but not `ctime`.
    """

    digest: str
    device: int
    inode: int
    size: int
    mtime: int
    ctime: int


class VerifiedChunks:
    """Remembers which chunks of which files have their digests. Threads may share it."""

    def __init__(self) -> None:
        self._indices: dict[_FileState, set[int]] = {}
        self._lock = threading.Lock()

    def of(self, descriptor: int, digest: str) -> set[int]:
        """The indices of the verified chunks of an open file, to which the caller adds others."""
        status = os.fstat(descriptor)
        state = _FileState(digest, status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
        with self._lock:
            while len(self._indices) >= MOST_FILES:
                del self._indices[next(iter(self._indices))]
            return self._indices.setdefault(state, set())


class VerifiedMap(mmap.mmap):
    """A file mapped to be read, whose chunks are verified before their first use.

    A slice verifies its chunks. Call `verify` before an array reads the memory without a slice.
    """

    _digests: ChunkDigests
    _verified: set[int]

    @classmethod
    def open(cls, descriptor: int, digests: ChunkDigests, verified: VerifiedChunks) -> Self:
        """The whole file. Raises BadTable `dataset_corrupt` for a file of another size."""
        size = os.fstat(descriptor).st_size
        if size != digests.size or not size:
            raise _corrupt(digests, f"the file has {size} bytes, and needs {digests.size}")
        memory = cls(descriptor, 0, access=mmap.ACCESS_READ)
        memory._digests, memory._verified = digests, verified.of(descriptor, digests.digest)
        return memory

    # The signature of the base class: an index gives a number.
    def __getitem__(self, key: int | slice) -> bytes:  # type: ignore[override]
        start, stop, _ = (key if isinstance(key, slice) else slice(key, key + 1)).indices(len(self))
        self.verify(range(start // CHUNK_BYTES, -(-stop // CHUNK_BYTES)))
        content: bytes = super().__getitem__(key)  # type: ignore[assignment]
        return content

    @property
    def is_verified(self) -> bool:
        """Whether all chunks are verified."""
        return len(self._verified) == len(self._digests.chunks)

    def verify(self, chunks: Iterable[int]) -> None:
        """Verify the chunks with these indices, unless they are verified.

        Raises BadTable `dataset_corrupt`.
        """
        for index in chunks:
            if index not in self._verified:
                start = index * CHUNK_BYTES
                with memoryview(self) as content, content[start : start + CHUNK_BYTES] as chunk:
                    actual = hashlib.sha256(chunk).hexdigest()
                if actual != self._digests.chunks[index]:
                    raise _corrupt(self._digests, f"bytes {start} to {min(start + CHUNK_BYTES, len(self))} have changed")
                self._verified.add(index)
                # Otherwise the pages that were hashed count as memory of this process.
                self.madvise(mmap.MADV_DONTNEED, start, min(CHUNK_BYTES, len(self) - start))


def _corrupt(digests: ChunkDigests, reason: str) -> BadTable:
    return BadTable(
        "dataset_corrupt",
        f"the stored bytes of the dataset {digests.digest} are damaged: {reason}; "
        "upload the dataset again, then submit the job again",
    )
