"""Files that are read in place, range by range, and pinned: a changed file gives no bytes.

The pin of a file is its ETag, or its time of change where the filesystem has no ETags. Other
bytes have another pin or another size.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from unitrank_store.blobs.source_address import quoted
from unitrank_store.blobs.sources import LocalFile, RemoteFile, Source, translated
from unitrank_store.errors import BadSource, ShardChanged

_TAGS = ("ETag", "etag", "generation", "content_md5")
_TIMES = ("mtime", "LastModified", "last_modified", "updated", "modified", "created")


class FileState(NamedTuple):
    """The size of a file in bytes, and its pin."""

    size: int
    pin: str


class PinnedFile(Protocol):
    """One file that is read in ranges. Threads may share it."""

    def state(self) -> FileState:
        """The state of the file now. Raises BadSource."""

    def read(self, start: int, stop: int, state: FileState) -> bytes:
        """The bytes from `start` to `stop` (exclusive).

        Raises ShardChanged if the file has another state, and BadSource.
        """


def pinned(source: Source) -> PinnedFile:
    """The source as a file that is read in place. Raises BadSource for a web address."""
    if isinstance(source, LocalFile):
        return PinnedLocalFile(source)
    if isinstance(source, RemoteFile):
        return PinnedRemoteFile(source)
    raise BadSource("uri_unreadable", f"{quoted(source.name)} cannot be read in place; give the URI of an object or a local file")


@dataclass(frozen=True)
class PinnedLocalFile:
    """A file in a folder of this machine, also one that several machines mount (NFS)."""

    source: LocalFile

    def state(self) -> FileState:
        with translated(self.source.name), self.source.open() as file:
            return _local_state(file.fileno())

    def read(self, start: int, stop: int, state: FileState) -> bytes:
        with translated(self.source.name), self.source.open() as file:
            _check(self.source.name, state, _local_state(file.fileno()))
            content = _pread(file.fileno(), start, stop)
            # The file may have changed while its bytes were read.
            _check(self.source.name, state, _local_state(file.fileno()))
        return content


@dataclass(frozen=True)
class PinnedRemoteFile:
    """An object of a filesystem that fsspec supports. S3 compares the ETag at each read itself.

    `idle`: open files, of which each thread takes one; they hold no connection.
    """

    source: RemoteFile
    idle: list[Any] = field(default_factory=list)  # Any: fsspec has no types

    def state(self) -> FileState:
        with translated(self.source.name):
            return _remote_state(self.source.name, self.source.filesystem.info(self.source.path))

    def read(self, start: int, stop: int, state: FileState) -> bytes:
        with translated(self.source.name):
            file = self._opened(state)
            try:
                file.seek(start)
                content: bytes = file.read(stop - start)
            except Exception:
                # S3 rejects a read of another ETag; the driver's error does not say so clearly.
                _check(self.source.name, state, self.state())
                raise
            if not _is_compared_by_server(file):
                _check(self.source.name, state, self.state())
        self.idle.append(file)
        return content

    def _opened(self, state: FileState) -> Any:
        try:
            return self.idle.pop()
        except IndexError:
            file = self.source.filesystem.open(self.source.path, "rb", cache_type="none")
            # Without a comparison by the server, `read` compares the state after the read.
            if _is_compared_by_server(file):
                _check(self.source.name, state, _remote_state(self.source.name, file.details))
            return file


def _is_compared_by_server(file: Any) -> bool:
    return bool(getattr(file, "read_kw", {}).get("IfMatch"))


def _local_state(descriptor: int) -> FileState:
    status = os.fstat(descriptor)
    return FileState(status.st_size, f"mtime {status.st_mtime_ns}")


def _remote_state(name: str, details: Mapping[str, Any]) -> FileState:
    key = next((key for key in (*_TAGS, *_TIMES) if details.get(key)), None)
    if key is None or not isinstance(details.get("size"), int):
        detail = f"{quoted(name)} has no size, ETag or time of change, so a change could not be noticed; upload the bytes instead"
        raise BadSource("uri_unreadable", detail)
    return FileState(details["size"], f"{key.lower()} {details[key]}")


def _check(name: str, expected: FileState, actual: FileState) -> None:
    if actual != expected:
        raise ShardChanged(
            "dataset_changed",
            f"the shard {quoted(name)} has changed since the import of the dataset (it had {expected.size} bytes, {expected.pin}; "
            f"now {actual.size} bytes, {actual.pin}); import the dataset again, then submit the job again",
        )


def _pread(descriptor: int, start: int, stop: int) -> bytes:
    pieces = []
    while start < stop and (piece := os.pread(descriptor, stop - start, start)):
        pieces.append(piece)
        start += len(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)
