"""The header of a `.npy` file, read as a literal; nothing in it is evaluated."""

import ast
import struct
from dataclasses import dataclass

from unitrank_tables.errors import BadTable

HEADER_LIMIT = 10_240
_MAGIC = b"\x93NUMPY"
_LENGTHS = {1: struct.Struct("<H"), 2: struct.Struct("<I"), 3: struct.Struct("<I")}
_KEYS = {"descr", "fortran_order", "shape"}


@dataclass(frozen=True)
class NpyHeader:
    """The content of a header; `descr` and `shape` are not checked yet.

    `length`: bytes of the header, after which the data begin.
    """

    descr: object
    fortran: bool
    shape: object
    length: int


def npy_header(name: str, head: bytes) -> NpyHeader:
    """The header at the start of `head`. Raises BadTable."""
    text, length = _text(name, head)
    fields = _literal(name, text)
    if not isinstance(fields, dict) or fields.keys() != _KEYS or not isinstance(fields["fortran_order"], bool):
        raise _broken(name, f"expected the keys {sorted(_KEYS)}")
    if not isinstance(fields["shape"], tuple):
        raise _broken(name, "the shape must be a tuple")
    return NpyHeader(fields["descr"], fields["fortran_order"], fields["shape"], length)


def _text(name: str, head: bytes) -> tuple[str, int]:
    if not head.startswith(_MAGIC) or len(head) < 12 or head[6] not in _LENGTHS:
        raise BadTable("not_a_table", f"{name!r} is not a .npy array of version 1 to 3")
    packing = _LENGTHS[head[6]]
    start = 8 + packing.size
    end = start + packing.unpack_from(head, 8)[0]
    if end > len(head):
        raise _broken(name, f"the header is longer than the array or than {HEADER_LIMIT} bytes")
    try:
        return head[start:end].decode("utf-8" if head[6] == 3 else "latin-1"), end
    except UnicodeDecodeError as error:
        raise _broken(name, str(error)) from error


def _literal(name: str, text: str) -> object:
    try:
        # For deep nesting the parser raises RecursionError or MemoryError.
        return ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError) as error:
        raise _broken(name, "it is not a Python literal") from error


def _broken(name: str, why: str) -> BadTable:
    return BadTable("header_mismatch", f"the header of {name!r} cannot be read: {why}")
