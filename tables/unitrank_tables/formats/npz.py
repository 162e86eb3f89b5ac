"""The fields of an npz archive, read from its directory and the headers of its members.

numpy's loader is not used: an archive of 400 KB can claim arrays of 4 GB, and unpack to 4 GB. Here
the sizes in the directory, in the headers and of the file are compared before anything is unpacked.
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
from unitrank_tables.formats.npy import HEADER_LIMIT, NpyHeader, npy_header
from unitrank_tables.sizes import MiB

# Bytes: enough for 1000 entries with long names. Python keeps a large object for each entry.
DIRECTORY_LIMIT = 1024 * 1024
# Bytes that are unpacked at a time.
PIECE = MiB
# Bytes of the end of an archive with the longest comment.
_TAIL = 65_536 + 1024
# deflate writes at least two bits for each 258 bytes, so the ratio is at most 1032:1.
_DEFLATE_RATIO = 1032
_LOCAL = struct.Struct("<4s22xHH")
_ENCRYPTED = 0x1 | 0x40
_BROKEN = (zipfile.BadZipFile, struct.error, NotImplementedError, ValueError, OverflowError, OSError, EOFError)


def npz_columns(memory: mmap.mmap, folder: Path) -> list[Column]:
    """The fields in the order of the archive. Raises BadTable.

    A compressed field is unpacked into a file in `folder` when it is first read.
    """
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
        unpacked = partial(_inflate, memory, entry, start, folder)
        column = Column(name, element, shape, unpacked, header.length, header.fortran, packed=True)
    _agree(column, entry, header)
    return column


def _agree(column: Column, entry: zipfile.ZipInfo, header: NpyHeader) -> None:
    size = entry.file_size - header.length
    if column.bytes != size:
        claim = f"the header of {column.name!r} claims {column.bytes} bytes of data"
        raise BadTable("header_mismatch", f"{claim}, but the archive holds {size}")


class _Directory:
    """A file for `ZipFile`, which can read the directory of an archive and little more from it.

    Raises BadTable when more is read than the longest accepted directory.
    """

    def __init__(self, memory: mmap.mmap) -> None:
        self._memory = memory
        self._at = 0
        self._left = DIRECTORY_LIMIT + _TAIL

    def seek(self, offset: int, whence: int = 0) -> int:
        at = offset + (0, self._at, len(self._memory))[whence]
        if at < 0:
            # A file would raise OSError, too; ZipFile handles it.
            raise OSError(f"cannot seek to {at}, before the start of the archive")
        self._at = at
        return at

    def tell(self) -> int:
        return self._at

    def read(self, size: int = -1) -> bytes:
        end = len(self._memory) if size < 0 else min(self._at + size, len(self._memory))
        self._left -= max(end - self._at, 0)
        if self._left < 0:
            raise BadTable("too_many_fields", f"the archive's directory is longer than {DIRECTORY_LIMIT} bytes")
        data = self._memory[self._at : end]
        self._at += len(data)
        return data


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
        raise BadTable(
            "not_a_table",
            f"the archive holds {entry.filename!r}; an npz holds .npy files only: "
            "save arrays with numpy.savez, or upload an archive of torch.export as a model",
        )
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) or entry.flag_bits & _ENCRYPTED:
        raise BadTable("not_a_table", f"{entry.filename!r} has a compression or an encryption that numpy does not write")
    packed, unpacked = entry.compress_size, entry.file_size
    stored = entry.compress_type == zipfile.ZIP_STORED
    if packed > len(memory) or (stored and packed != unpacked) or unpacked > packed * _DEFLATE_RATIO:
        raise BadTable("header_mismatch", f"{entry.filename!r} cannot unpack {packed} bytes to {unpacked}")


def _data_start(memory: mmap.mmap, entry: zipfile.ZipInfo) -> int:
    """The offset of the packed data.

    The local header before it repeats the entry of the directory, but may have another length.
    """
    local = memory[entry.header_offset : entry.header_offset + _LOCAL.size] if entry.header_offset >= 0 else b""
    if len(local) < _LOCAL.size or not local.startswith(b"PK\x03\x04"):
        raise BadTable("not_a_table", f"the directory of the archive gives a wrong offset for {entry.filename!r}")
    _, name_length, extra_length = _LOCAL.unpack(local)
    start = entry.header_offset + _LOCAL.size + int(name_length) + int(extra_length)
    if start + entry.compress_size > len(memory):
        raise BadTable("header_mismatch", f"{entry.filename!r} reaches past the end of the file")
    return start


def _head(memory: mmap.mmap, entry: zipfile.ZipInfo, start: int) -> bytes:
    """The first bytes of an entry, enough for its header."""
    most = min(HEADER_LIMIT, entry.file_size)
    # 1024 bytes more, because data that cannot be compressed grows a little.
    packed = memory[start : start + min(entry.compress_size, HEADER_LIMIT + 1024)]
    return packed[:most] if entry.compress_type == zipfile.ZIP_STORED else _unpack(entry, packed, most)


def _inflate(memory: mmap.mmap, entry: zipfile.ZipInfo, start: int, folder: Path) -> mmap.mmap:
    """The unpacked entry, mapped from a temporary file in `folder`.

    Raises BadTable for a wrong size or checksum. The file has no name: the system deletes it with
    its mapping.
    """
    size = checksum = 0
    with tempfile.TemporaryFile(dir=folder) as spooled:
        for piece in _pieces(memory, entry, start):
            size += len(piece)
            checksum = zlib.crc32(piece, checksum)
            spooled.write(piece)
        if size != entry.file_size or checksum != entry.CRC:
            raise _damaged(
                entry, f"its size or checksum differs from the directory of the archive ({size} of {entry.file_size} bytes)"
            )
        spooled.flush()
        return mmap.mmap(spooled.fileno(), 0, access=mmap.ACCESS_READ)


def _pieces(memory: mmap.mmap, entry: zipfile.ZipInfo, start: int) -> Iterator[bytes]:
    """The unpacked entry in pieces, at most one piece more than its size. Raises BadTable."""
    unpacker = zlib.decompressobj(-zlib.MAX_WBITS)
    remaining, end = entry.file_size, start + entry.compress_size
    packed = b""
    try:
        while remaining >= 0 and not unpacker.eof and (packed or start < end):
            if not packed:
                packed = memory[start : min(start + PIECE, end)]
                start += len(packed)
                # Without this call, the pages that were read count as memory of this process.
                memory.madvise(mmap.MADV_DONTNEED)
            piece = unpacker.decompress(packed, PIECE)
            packed = unpacker.unconsumed_tail
            remaining -= len(piece)
            yield piece
        # All input is used here, so flush returns only the last bytes. Earlier it would unpack all
        # remaining input at once.
        if remaining >= 0 and not unpacker.eof:
            yield unpacker.flush()
    except zlib.error as error:
        raise _damaged(entry, str(error)) from error


def _unpack(entry: zipfile.ZipInfo, packed: bytes | memoryview, most: int) -> bytes:
    try:
        # For zlib, 0 means unlimited.
        return zlib.decompressobj(-zlib.MAX_WBITS).decompress(packed, max(most, 1))
    except zlib.error as error:
        raise _damaged(entry, str(error)) from error


def _damaged(entry: zipfile.ZipInfo, why: str) -> BadTable:
    return BadTable("damaged", f"{entry.filename!r} cannot be unpacked: {why}")
