"""The element types of a field, and the functions that read each type in native byte order.

Real numbers, integers, booleans and strings of fixed width are accepted.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from unitrank_tables.errors import BadTable

# Any: rows have one of many element types, which `Element.public` names.
Rows = np.ndarray[Any, np.dtype[Any]]
RowSelection = slice | Sequence[int] | np.ndarray[Any, np.dtype[np.integer[Any]]]
"""Numbers of rows. A negative number counts from the end, as in numpy."""

_DESCR = re.compile(r"[<>|=]?([a-zA-Z?])(\d*)")
_WIDTHS = {"b": (1,), "i": (1, 2, 4, 8), "u": (1, 2, 4, 8), "f": (2, 4, 8)}
_SAFETENSORS = {
    "BOOL": "|b1",
    "U8": "|u1",
    "I8": "|i1",
    "U16": "<u2",
    "I16": "<i2",
    "U32": "<u4",
    "I32": "<i4",
    "U64": "<u8",
    "I64": "<i8",
    "F16": "<f2",
    "F32": "<f4",
    "F64": "<f8",
}
_ALLOWED = "real numbers, integers and booleans of 1 to 8 bytes, and strings of fixed width"


@dataclass(frozen=True)
class Element:
    """The type of the elements of a field.

    `stored`: their type in the file. `public`: the name of their type after reading.
    `decode`: makes rows of the stored type a new C-ordered array in native byte order.
    """

    stored: np.dtype[Any]
    public: str
    decode: Callable[[Rows], Rows]


def npy_element(field: str, descr: object) -> Element:
    """The element of a `.npy` header. Raises BadTable."""
    match = _DESCR.fullmatch(descr) if isinstance(descr, str) and len(descr) < 20 else None
    if match and match[1] == "O":
        detail = "holds Python objects, which numpy saves as a pickle; pickles are never read: save numbers or strings"
        raise BadTable("pickled_array", f"field {field!r} {detail}")
    if not match or not _allowed(kind=match[1], width=int(match[2] or 0)):
        raise _unsupported(field, descr)
    return _element(np.dtype(str(descr)))


def safetensors_element(field: str, name: object) -> Element:
    """The element of a safetensors header. Raises BadTable."""
    if name == "BF16":
        return Element(np.dtype("<u2"), "float32", _widened)
    if not isinstance(name, str) or name not in _SAFETENSORS:
        raise _unsupported(field, name)
    return _element(np.dtype(_SAFETENSORS[name]))


def _allowed(kind: str, width: int) -> bool:
    # A header of a few bytes can claim strings of 2**27 characters, which would take 512 MB each.
    return 0 < width < 2**16 if kind in "US" else width in _WIDTHS.get(kind, ())


def _unsupported(field: str, type_name: object) -> BadTable:
    return BadTable("unsupported_dtype", f"field {field!r} has elements of type {str(type_name)[:60]!r}; accepted are {_ALLOWED}")


def _element(stored: np.dtype[Any]) -> Element:
    native = stored.newbyteorder("=")
    decoders: dict[str, Callable[[Rows], Rows]] = {"b": _booleans, "U": _text, "S": _text_of_bytes}
    public = "str" if stored.kind in "US" else native.name
    return Element(stored, public, decoders.get(stored.kind, lambda rows: np.array(rows, dtype=native, order="C")))


def _booleans(rows: Rows) -> Rows:
    # numpy accepts only the bytes 0 and 1 as booleans. Here every byte except 0 is true.
    return np.not_equal(np.ascontiguousarray(rows).view(np.uint8), 0)


def _widened(rows: Rows) -> Rows:
    """The rows as float32; a bfloat16 is the upper half of a float32."""
    return (rows.astype(np.uint32, order="C") << 16).view(np.float32)


def _text_of_bytes(rows: Rows) -> Rows:
    return np.ascontiguousarray(np.strings.decode(rows, "utf-8", "backslashreplace"))


def _text(rows: Rows) -> Rows:
    """The strings in native byte order. Raises BadTable for a number that is not a character.

    numpy itself fails on such a string only when an element is read.
    """
    native = np.array(rows, dtype=rows.dtype.newbyteorder("="), order="C")
    codes = native.reshape(-1).view(np.uint32)
    if np.any((codes > 0x10FFFF) | ((codes >= 0xD800) & (codes <= 0xDFFF))):
        raise BadTable("bad_text", "a string holds a number that is not a Unicode character")
    return native
