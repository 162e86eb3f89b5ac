"""The fields of an npz archive, from its directory and the headers of its members, without numpy's loader.

An archive of 400 KB can claim arrays of 4 GB and unpack to as much; here every claim is held against the others first.
"""

import mmap
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from unitrank_tables.columns import Column, check_names, checked_shape
from unitrank_tables.elements import npy_element
from unitrank_tables.errors import BadTable
from unitrank_tables.npy import HEADER_LIMIT, NpyHeader, npy_header
from unitrank_tables.sizes import MiB

# 1000 entries with long names; Python keeps a large object for each entry it reads.
DIRECTORY_LIMIT = 1024 * 1024
# Unpacked at once.
PIECE = MiB
# The end of an archive and its longest comment.
_TAIL = 65_536 + 1024
# deflate writes at least one bit for each 258 bytes, which is 1032:1 at most.
_DEFLATE_RATIO = 1032
_LOCAL = struct.Struct("<4s22xHH")
_ENCRYPTED = 0x1 | 0x40
_BROKEN = (zipfile.BadZipFile, struct.error, NotImplementedError, ValueError, OverflowError, OSError, EOFError)


def npz_columns(memory: mmap.mmap, folder: Path) -> list[Column]:
    """In the archive's order; what is packed will be unpacked into `folder` when it is read. Raises BadTable."""
    entries = _directory(memory)
    check_names([entry.filename.removesuffix(".npy") for entry in entries])
    return [_column(memory, entry, folder) for entry in entries]


def _column(memory: mmap.mmap, entry: zipfile.ZipInfo, folder: Path) -> Column:
    start = _data_start(memory, entry)
    header = npy_header(entry.filename, _head(memory, entry, start))
    name = entry.filename.removesuffix(".npy")
    element = npy_element(name, header.descr)
    shape = checked_shape(name, header.shape, element.stored.itemsize)
    if entry.compress_type == zipfile.ZIP_STORED:
        column = Column(name, element, shape, lambda: memory, start + header.length, header.fortran)
    else:
        column = Column(name, element, shape, partial(_inflate, memory, entry, start, folder), header.length, header.fortran)
    _agree(column, entry, header)
    return column


def _agree(column: Column, entry: zipfile.ZipInfo, header: NpyHeader) -> None:
    held = entry.file_size - header.length
    if column.bytes != held:
        claim = f"the header of {column.name!r} claims {column.bytes} bytes of data"
        raise BadTable("header_mismatch", f"{claim}, but the archive holds {held} for it")


class _Directory:
    """Lets `ZipFile` read the directory of an archive and not much more."""

    def __init__(self, memory: mmap.mmap) -> None:
        self._memory = memory
        self._at = 0
        self._left = DIRECTORY_LIMIT + _TAIL

    def seek(self, offset: int, whence: int = 0) -> int:
        at = offset + (0, self._at, len(self._memory))[whence]
        if at < 0:
            # ZipFile looks for this one, as a file would raise it.
            raise OSError("a place before the archive's start")
        self._at = at
        return at

    def tell(self) -> int:
        return self._at

    def read(self, size: int = -1) -> bytes:
        end = len(self._memory) if size < 0 else min(self._at + size, len(self._memory))
        self._left -= max(end - self._at, 0)
        if self._left < 0:
            raise BadTable("too_many_fields", f"the archive's directory is longer than {DIRECTORY_LIMIT} bytes")
        found = self._memory[self._at : end]
        self._at += len(found)
        return found


def _directory(memory: mmap.mmap) -> list[zipfile.ZipInfo]:
    try:
        with zipfile.ZipFile(_Directory(memory)) as archive:
            entries = archive.infolist()
    except _BROKEN as error:
        raise BadTable("not_a_table", f"the file starts like an npz archive but cannot be read: {error}") from error
    for entry in entries:
        _check_entry(memory, entry)
    return entries


def _check_entry(memory: mmap.mmap, entry: zipfile.ZipInfo) -> None:
    if not entry.filename.endswith(".npy"):
        raise BadTable("not_a_table", f"the archive holds {entry.filename!r}; an npz holds .npy files only")
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) or entry.flag_bits & _ENCRYPTED:
        raise BadTable("not_a_table", f"{entry.filename!r} is packed in a way that numpy does not write")
    packed, unpacked = entry.compress_size, entry.file_size
    stored = entry.compress_type == zipfile.ZIP_STORED
    if packed > len(memory) or (stored and packed != unpacked) or unpacked > packed * _DEFLATE_RATIO:
        raise BadTable("header_mismatch", f"{entry.filename!r} cannot hold {unpacked} bytes in {packed}")


def _data_start(memory: mmap.mmap, entry: zipfile.ZipInfo) -> int:
    """Where the packed data begins: behind a header that repeats the directory's and may have another length."""
    local = memory[entry.header_offset : entry.header_offset + _LOCAL.size] if entry.header_offset >= 0 else b""
    if len(local) < _LOCAL.size or not local.startswith(b"PK\x03\x04"):
        raise BadTable("not_a_table", f"the archive's directory points to no entry for {entry.filename!r}")
    _, name_length, extra_length = _LOCAL.unpack(local)
    start = entry.header_offset + _LOCAL.size + int(name_length) + int(extra_length)
    if start + entry.compress_size > len(memory):
        raise BadTable("header_mismatch", f"{entry.filename!r} reaches past the end of the file")
    return start


def _head(memory: mmap.mmap, entry: zipfile.ZipInfo, start: int) -> bytes:
    """The first bytes of an entry, enough for its header."""
    most = min(HEADER_LIMIT, entry.file_size)
    # Some bytes more: what does not compress grows a little.
    packed = memory[start : start + min(entry.compress_size, HEADER_LIMIT + 1024)]
    return packed[:most] if entry.compress_type == zipfile.ZIP_STORED else _unpack(entry, packed, most)


def _inflate(memory: mmap.mmap, entry: zipfile.ZipInfo, start: int, folder: Path) -> mmap.mmap:
    """The whole entry, checked, in a file without a name beside the archive: it goes with the mapping. Raises BadTable."""
    size = checksum = 0
    with tempfile.TemporaryFile(dir=folder) as spooled:
        for piece in _pieces(memory, entry, start):
            size += len(piece)
            checksum = zlib.crc32(piece, checksum)
            spooled.write(piece)
        if size != entry.file_size or checksum != entry.CRC:
            raise _damaged(entry, f"{entry.file_size} bytes were announced, {size} or others came out")
        spooled.flush()
        return mmap.mmap(spooled.fileno(), 0, access=mmap.ACCESS_READ)


def _pieces(memory: mmap.mmap, entry: zipfile.ZipInfo, start: int) -> Iterator[bytes]:
    """What the entry unpacks to, at most a piece more than it announces. Raises BadTable."""
    unpacker = zlib.decompressobj(-zlib.MAX_WBITS)
    left, end = entry.file_size, start + entry.compress_size
    packed = b""
    try:
        while left >= 0 and not unpacker.eof and (packed or start < end):
            if not packed:
                packed = memory[start : min(start + PIECE, end)]
                start += len(packed)
                # What was read would stay in this process's memory.
                memory.madvise(mmap.MADV_DONTNEED)
            piece = unpacker.decompress(packed, PIECE)
            packed = unpacker.unconsumed_tail
            left -= len(piece)
            yield piece
        # With all input taken, only what its end was waiting for is left; before that, flush would unpack the rest at once.
        if left >= 0 and not unpacker.eof:
            yield unpacker.flush()
    except zlib.error as error:
        raise _damaged(entry, str(error)) from error


def _unpack(entry: zipfile.ZipInfo, packed: bytes | memoryview, most: int) -> bytes:
    try:
        # To zlib a limit of 0 means none.
        return zlib.decompressobj(-zlib.MAX_WBITS).decompress(packed, max(most, 1))
    except zlib.error as error:
        raise _damaged(entry, str(error)) from error


def _damaged(entry: zipfile.ZipInfo, why: str) -> BadTable:
    return BadTable("damaged", f"{entry.filename!r} cannot be unpacked: {why}")
