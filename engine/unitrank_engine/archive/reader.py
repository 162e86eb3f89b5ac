"""Reads the upload as a plain zip.

The number, sizes and names of its entries are checked before their bytes are read.
"""

import stat
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from io import BufferedReader, FileIO
from pathlib import Path
from zipfile import ZIP_STORED, BadZipFile, ZipFile, ZipInfo

from unitrank_engine.archive.entries import FIXED, PROGRAM, check_name, split_root
from unitrank_engine.archive.errors import ArchiveError, escaped
from unitrank_engine.archive.file_kinds import EXPORT, START_BYTES, error_by_start, refuse_by_entries
from unitrank_tables.files import open_file

CHUNK = 1 << 20
"""Bytes of an entry that are in memory at once."""
MAX_ENTRIES = 20_000
MAX_DIRECTORY = 4 << 20
"""Bytes of the zip's table of contents."""
START_OF_ENTRY = 1 << 16
"""Bytes of an entry that show what wrote a file of another kind."""
MAX_TEXT = 32 << 20
"""Bytes of one entry of text, such as `models/model.json`."""
MAX_VALUES = 4_000_000
"""Brackets, braces and commas in one entry of text.

The largest program that is accepted has three million. Each bracket can cost the parser 300 bytes.
"""

# zipfile raises these errors, besides its own, for bytes that are not a zip.
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
    """An opened upload.

    Its entries are named without the root folder, for example `models/model.json`.
    """

    def __init__(self, file: ZipFile, entries: dict[str, ZipInfo]) -> None:
        self._file = file
        self._entries = entries

    def size(self, name: str) -> int:
        """Bytes of an entry. Raises ArchiveError `not_an_archive` when the entry is missing."""
        if name not in self._entries:
            raise _missing(name)
        return self._entries[name].file_size

    def chunks(self, name: str) -> Iterator[bytes]:
        """The bytes of an entry in pieces of at most 1 MiB.

        The checksum of the entry is verified after the last piece.

        Raises ArchiveError `not_an_archive` when the entry is missing, too short or damaged.
        """
        size = self.size(name)
        with _as_archive_error():
            stream = self._file.open(self._entries[name])
        with stream:
            while size > 0:
                with _as_archive_error():
                    chunk = stream.read(CHUNK)
                if not chunk:
                    raise ArchiveError(
                        "not_an_archive", f"entry {escaped(name)} ends {size} bytes early: upload the complete file again"
                    )
                size -= len(chunk)
                yield chunk

    def text(self, name: str) -> bytes:
        """All bytes of a JSON entry.

        Raises ArchiveError `archive_too_large` above `MAX_TEXT` or `MAX_VALUES`.
        """
        size = self.size(name)
        if size > MAX_TEXT:
            raise ArchiveError("archive_too_large", f"entry {escaped(name)} has {size} bytes; at most {MAX_TEXT} are accepted")
        text = b"".join(self.chunks(name))
        values = sum(text.count(sign) for sign in b"[{,")
        if values > MAX_VALUES:
            raise ArchiveError(
                "archive_too_large", f"entry {escaped(name)} lists {values} values; at most {MAX_VALUES} are accepted"
            )
        return text


@contextmanager
def open_archive(path: Path) -> Iterator[ArchiveReader]:
    """The upload at `path` as a context manager; its table of contents is already checked.

    Raises ArchiveError.
    """
    with _BoundedFile(open_file(path)) as raw:
        start = raw.read(START_BYTES)
        raw.seek(0)
        with _as_archive_error(error_by_start(start)):
            file = ZipFile(raw)
        with file:
            archive = ArchiveReader(file, _entries(file.infolist(), raw.length, lambda name: _start(file, name)))
            for name, content in FIXED.items():
                value = archive.text(name)
                if value != content:
                    raise ArchiveError(
                        "not_an_archive", f"entry {escaped(name)} is {escaped(value[:50])}; expected {content!r}: {EXPORT}"
                    )
            yield archive


class _BoundedFile(BufferedReader):
    """A file that refuses to read more than `MAX_DIRECTORY` bytes at once.

    zipfile reads the table of contents in one call, and a forged length there could fill the
    memory.
    """

    def __init__(self, raw: FileIO) -> None:
        super().__init__(raw)
        self.length = self.seek(0, 2)
        self.seek(0)

    def read(self, size: int | None = -1, /) -> bytes:
        requested = self.length - self.tell() if size is None or size < 0 else size
        if requested > MAX_DIRECTORY:
            raise ArchiveError(
                "archive_too_large",
                f"the zip's table of contents claims {requested} bytes; at most {MAX_DIRECTORY} are accepted",
            )
        return super().read(size)


@contextmanager
def _as_archive_error(refusal: ArchiveError | None = None) -> Iterator[None]:
    """Turns the errors of zipfile into an ArchiveError.

    `refusal`: that error; without it, the error gives zipfile's own reason.
    """
    try:
        yield
    except _ZIP_ERRORS as error:
        reason = escaped(str(error))
        raise refusal or ArchiveError(
            "not_an_archive", f"the file is not a zip that torch.export.save wrote ({reason}): {EXPORT}"
        ) from error


def _start(file: ZipFile, name: str) -> bytes:
    """The first bytes of an entry, or none of an entry that zipfile cannot read."""
    with suppress(*_ZIP_ERRORS), file.open(name) as entry:
        return entry.read(START_OF_ENTRY)
    return b""


def _missing(name: str) -> ArchiveError:
    return ArchiveError(
        "not_an_archive", f"entry {escaped(name)} is missing, which torch.export.save writes into each archive: {EXPORT}"
    )


def _entries(infos: list[ZipInfo], length: int, start_of: Callable[[str], bytes]) -> dict[str, ZipInfo]:
    count = len(infos)
    if count > MAX_ENTRIES:
        raise ArchiveError("archive_too_large", f"the zip has {count} entries; at most {MAX_ENTRIES} are accepted")
    refuse_by_entries([info.orig_filename for info in infos], start_of)
    entries: dict[str, ZipInfo] = {}
    roots = set()
    for info in infos:
        _check_storage(info)
        # orig_filename, because filename is cut at the first NUL.
        root, name = split_root(info.orig_filename)
        check_name(name)
        if name in entries:
            raise ArchiveError("archive_entry_refused", f"entry {escaped(name)} occurs twice; each entry may occur once")
        roots.add(root)
        entries[name] = info
    if len(roots) > 1:
        raise ArchiveError(
            "archive_entry_refused", f"the entries have {len(roots)} root folders; expected one root folder for all of them"
        )
    if PROGRAM not in entries:
        raise _missing(PROGRAM)
    total = sum(info.file_size for info in infos)
    if total > length:
        raise ArchiveError(
            "archive_entry_refused", f"the entries claim {total} bytes, and the file has {length}; entries may not overlap"
        )
    return entries


def _check_storage(info: ZipInfo) -> None:
    kind, name = stat.S_IFMT(info.external_attr >> 16), escaped(info.orig_filename)
    faults = {
        "is compressed": info.compress_type != ZIP_STORED,
        "is encrypted": bool(info.flag_bits & 0x41),
        "is not a regular file": kind not in (0, stat.S_IFREG),
        "has two different sizes": info.compress_size != info.file_size,
    }
    for fault, present in faults.items():
        if present:
            raise ArchiveError(
                "archive_entry_refused",
                f"entry {name} {fault}; expected a regular file that is stored uncompressed and unencrypted",
            )
