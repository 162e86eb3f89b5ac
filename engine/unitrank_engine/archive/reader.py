"""The upload as a plain zip: numbers, sizes and names are checked before the bytes of any entry are read."""

import stat
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader, FileIO
from pathlib import Path
from zipfile import ZIP_STORED, BadZipFile, ZipFile, ZipInfo

from unitrank_engine.archive.entries import FIXED, PROGRAM, check_name, split_root
from unitrank_engine.archive.errors import ArchiveError, shown

CHUNK = 1 << 20
MAX_ENTRIES = 20_000
MAX_DIRECTORY = 4 << 20
MAX_TEXT = 32 << 20
# Brackets and commas: a program of the most nodes has three million, and each bracket can cost the parser 300 bytes.
MAX_VALUES = 4_000_000

# What zipfile raises for bytes that are no zip, besides its own error.
_ZIP_ERRORS = (
    BadZipFile,
    NotImplementedError,
    RuntimeError,
    ValueError,
    OverflowError,
    EOFError,
    OSError,
    struct.error,
)


class ArchiveReader:
    """An opened upload; entries are named without the root folder."""

    def __init__(self, file: ZipFile, entries: dict[str, ZipInfo]) -> None:
        self._file = file
        self._entries = entries

    def size(self, name: str) -> int:
        """Bytes of an entry. Raises ArchiveError where there is none."""
        if name not in self._entries:
            raise ArchiveError("not_an_archive", f"entry {shown(name)} is missing; torch.export.save writes it")
        return self._entries[name].file_size

    def chunks(self, name: str) -> Iterator[bytes]:
        """The bytes of an entry in pieces of at most 1 MiB; its checksum is verified at the end."""
        size = self.size(name)
        with _as_archive_error():
            stream = self._file.open(self._entries[name])
        with stream:
            while size > 0:
                with _as_archive_error():
                    chunk = stream.read(CHUNK)
                if not chunk:
                    raise ArchiveError("not_an_archive", f"entry {shown(name)} ends early")
                size -= len(chunk)
                yield chunk

    def text(self, name: str) -> bytes:
        """The whole of an entry that describes something."""
        if self.size(name) > MAX_TEXT:
            raise ArchiveError("archive_too_large", f"entry {shown(name)} has {self.size(name)} bytes; at most {MAX_TEXT} are read")
        text = b"".join(self.chunks(name))
        values = sum(text.count(sign) for sign in b"[{,")
        if values > MAX_VALUES:
            raise ArchiveError("archive_too_large", f"entry {shown(name)} lists {values} values; at most {MAX_VALUES} are read")
        return text


@contextmanager
def opened(path: Path) -> Iterator[ArchiveReader]:
    """The upload with its table of contents checked. Raises ArchiveError."""
    with _Bounded(FileIO(path)) as raw:
        with _as_archive_error():
            file = ZipFile(raw)
        with file:
            archive = ArchiveReader(file, _entries(file.infolist(), raw.length))
            for name, content in FIXED.items():
                if archive.text(name) != content:
                    raise ArchiveError("not_an_archive", f"entry {shown(name)}: expected {content!r}")
            yield archive


class _Bounded(BufferedReader):
    """Reads no more at once than a sane table of contents has, so that a forged one cannot fill the memory."""

    def __init__(self, raw: FileIO) -> None:
        super().__init__(raw)
        self.length = self.seek(0, 2)

    def read(self, size: int | None = -1, /) -> bytes:
        wanted = self.length - self.tell() if size is None or size < 0 else size
        if wanted > MAX_DIRECTORY:
            raise ArchiveError("archive_too_large", f"the zip's table of contents claims {wanted} bytes; at most {MAX_DIRECTORY}")
        return super().read(size)


@contextmanager
def _as_archive_error() -> Iterator[None]:
    try:
        yield
    except _ZIP_ERRORS as error:
        raise ArchiveError("not_an_archive", f"not a zip that torch.export.save wrote: {shown(str(error))}") from error


def _entries(infos: list[ZipInfo], length: int) -> dict[str, ZipInfo]:
    if len(infos) > MAX_ENTRIES:
        raise ArchiveError("archive_too_large", f"{len(infos)} entries; at most {MAX_ENTRIES}")
    entries: dict[str, ZipInfo] = {}
    roots = set()
    for info in infos:
        _check_storage(info)
        # orig_filename, because filename is cut at the first NUL.
        root, name = split_root(info.orig_filename)
        check_name(name)
        if name in entries:
            raise ArchiveError("archive_entry_refused", f"entry {shown(name)} is there twice")
        roots.add(root)
        entries[name] = info
    if len(roots) > 1:
        raise ArchiveError("archive_entry_refused", f"{len(roots)} root folders; expected one")
    if PROGRAM not in entries:
        raise ArchiveError("not_an_archive", f"entry {PROGRAM!r} is missing; torch.export.save writes it")
    if sum(info.file_size for info in infos) > length:
        raise ArchiveError("archive_entry_refused", f"the entries claim more than the {length} bytes of the file")
    return entries


def _check_storage(info: ZipInfo) -> None:
    kind = stat.S_IFMT(info.external_attr >> 16)
    faults = {
        "compressed": info.compress_type != ZIP_STORED,
        "encrypted": bool(info.flag_bits & 0x41),
        "no regular file": kind not in (0, stat.S_IFREG),
        "of two different sizes": info.compress_size != info.file_size,
    }
    for fault, found in faults.items():
        if found:
            raise ArchiveError(
                "archive_entry_refused",
                f"entry {shown(info.orig_filename)} is {fault}; entries must be stored as they are",
            )
