"""Where blobs lie: a local folder, or any filesystem that fsspec reaches. Names are 64 hexadecimal digits.

What is not there is a FileNotFoundError.
"""

import hashlib
import os
import shutil
import tempfile
import weakref
from pathlib import Path
from typing import Any, BinaryIO, Protocol, cast
from uuid import uuid4

from store.errors import Corrupt


class Place(Protocol):
    """What `Blobs` asks of a place; `spool` is a local folder for files on their way in."""

    spool: Path

    def put(self, file: Path, name: str) -> None:
        """Store a spooled file whole or not at all; the file may be moved away."""

    def path(self, name: str) -> Path: ...

    def open(self, name: str) -> BinaryIO: ...

    def size(self, name: str) -> int: ...

    def exists(self, name: str) -> bool: ...

    def delete(self, name: str) -> None: ...


class Folder:
    """A local folder; a file gets its name when all of it is on the disk."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.spool = root / "incoming"

    def put(self, file: Path, name: str) -> None:
        target = self.path_of(name)
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        file.replace(target)
        _sync(target.parent)

    def path(self, name: str) -> Path:
        path = self.path_of(name)
        path.stat()
        return path

    def open(self, name: str) -> BinaryIO:
        return self.path_of(name).open("rb")

    def size(self, name: str) -> int:
        return self.path_of(name).stat().st_size

    def exists(self, name: str) -> bool:
        return self.path_of(name).is_file()

    def delete(self, name: str) -> None:
        self.path_of(name).unlink(missing_ok=True)

    def path_of(self, name: str) -> Path:
        # A folder for each first byte: some filesystems are slow with 100 000 names in one.
        return self.root / name[:2] / name


class Remote:
    """An fsspec filesystem; contents are copied to a local cache where a file is needed."""

    # fsspec has no types: the filesystem is whatever its registry returns.
    def __init__(self, filesystem: Any, root: str, cache: Path | None) -> None:
        self._filesystem = filesystem
        self._root = root.rstrip("/")
        self._cache = Folder(cache or self._own_folder())
        self.spool = self._cache.spool

    def put(self, file: Path, name: str) -> None:
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
        return self._cache.path(name)

    def open(self, name: str) -> BinaryIO:
        return cast(BinaryIO, self._filesystem.open(self._key(name), "rb"))

    def size(self, name: str) -> int:
        return int(self._filesystem.size(self._key(name)))

    def exists(self, name: str) -> bool:
        return bool(self._filesystem.exists(self._key(name)))

    def delete(self, name: str) -> None:
        self._cache.delete(name)
        if self.exists(name):
            self._filesystem.rm_file(self._key(name))

    def _key(self, name: str) -> str:
        return f"{self._root}/{name[:2]}/{name}"

    def _own_folder(self) -> Path:
        """A folder that goes with this object."""
        folder = tempfile.mkdtemp(prefix="unitrank-")
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        return Path(folder)

    def _download(self, name: str) -> None:
        self.spool.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle, local = tempfile.mkstemp(dir=self.spool, prefix="download-")
        try:
            with os.fdopen(handle, "wb") as sink, self.open(name) as source:
                shutil.copyfileobj(source, sink, 1024 * 1024)
            _check(Path(local), name)
            self._cache.put(Path(local), name)
        finally:
            Path(local).unlink(missing_ok=True)


def _check(file: Path, name: str) -> None:
    with file.open("rb") as opened:
        found = hashlib.file_digest(opened, "sha256").hexdigest()
    if found != name:
        raise Corrupt(f"the stored content sha256:{name} has the digest sha256:{found}")


def _sync(folder: Path) -> None:
    """A rename is on the disk only when its folder is."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
