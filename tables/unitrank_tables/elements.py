"""What a field may hold: real numbers, integers, booleans, and strings of fixed width; how each is read in native form."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from unitrank_tables.errors import BadTable

# Rows come in many element types; which one is in `Element.public`.
Rows = np.ndarray[Any, np.dtype[Any]]

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
    """One element of a field: `stored` as it lies in the file, `public` as it is read, `decode` from one to the other.

    `decode` makes a new C-ordered array in native byte order.
    """

    stored: np.dtype[Any]
    public: str
    decode: Callable[[Rows], Rows]


def npy_element(field: str, descr: object) -> Element:
    """The element of a `.npy` header. Raises BadTable."""
    found = _DESCR.fullmatch(descr) if isinstance(descr, str) and len(descr) < 20 else None
    if found and found[1] == "O":
        detail = "is an array of Python objects, which only a pickle can hold; pickles are never read; save numbers or strings"
        raise BadTable("pickled_array", f"field {field!r} {detail}")
    if not found or not _allowed(kind=found[1], width=int(found[2] or 0)):
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
    # A width of 2**27 characters is no name but a way to ask for memory.
    return 0 < width < 2**16 if kind in "US" else width in _WIDTHS.get(kind, ())


def _unsupported(field: str, found: object) -> BadTable:
    return BadTable("unsupported_dtype", f"field {field!r} has elements of type {str(found)[:60]!r}; allowed are {_ALLOWED}")


def _element(stored: np.dtype[Any]) -> Element:
    native = stored.newbyteorder("=")
    decoders: dict[str, Callable[[Rows], Rows]] = {"b": _truth, "U": _text, "S": _text_of_bytes}
    public = "str" if stored.kind in "US" else native.name
    return Element(stored, public, decoders.get(stored.kind, lambda rows: np.array(rows, dtype=native, order="C")))


def _truth(rows: Rows) -> Rows:
    # A byte that is neither 0 nor 1 is no valid boolean for numpy; any but 0 is true.
    return np.not_equal(np.ascontiguousarray(rows).view(np.uint8), 0)


def _widened(rows: Rows) -> Rows:
    """bfloat16 is the upper half of a float32."""
    return (rows.astype(np.uint32, order="C") << 16).view(np.float32)


def _text_of_bytes(rows: Rows) -> Rows:
    return np.ascontiguousarray(np.strings.decode(rows, "utf-8", "backslashreplace"))


def _text(rows: Rows) -> Rows:
    """Raises BadTable for what is no Unicode: numpy fails on it only when an element is looked at."""
    native = np.array(rows, dtype=rows.dtype.newbyteorder("="), order="C")
    codes = native.reshape(-1).view(np.uint32)
    if np.any((codes > 0x10FFFF) | ((codes >= 0xD800) & (codes <= 0xDFFF))):
        raise BadTable("bad_text", "a string holds a number that is no Unicode character")
    return native
