"""The fields and row groups of a Parquet file, from its footer, without native code.

A field is a column of numbers, booleans or strings, or of lists of equal length, which become an
axis. The metadata `unitrank.shapes` of the file, `{"x": [1, 28, 28]}`, gives a list several axes.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from unitrank_tables.columns import ColumnInfo, check_names, checked_shape
from unitrank_tables.errors import BadTable
from unitrank_tables.formats.thrift import Struct, read_struct
from unitrank_tables.sizes import MiB

MAGIC = b"PAR1"
TAIL = 8
"""Bytes after the footer: its length, and `MAGIC`."""
FOOTER_LIMIT = 8 * MiB
SHAPES = "unitrank.shapes"
_PLAIN = {0: "bool", 1: "int32", 2: "int64", 4: "float32", 5: "float64"}
_CONVERTED = {
    (6, 0): "str",
    (1, 11): "uint8",
    (1, 12): "uint16",
    (1, 13): "uint32",
    (2, 14): "uint64",
    (1, 15): "int8",
    (1, 16): "int16",
    (1, 17): "int32",
    (2, 18): "int64",
}
"""Physical type and converted type → name of the element type."""
_LIST, _FLOAT16 = 3, 15
_ACCEPTED = "booleans, whole numbers, real numbers, strings, and lists of equal length of these"


class Chunk(NamedTuple):
    """The bytes `start` to `stop` of one field in one row group."""

    start: int
    stop: int


@dataclass(frozen=True)
class RowGroup:
    """A row group. `first`: its first row in the file. `chunks`: field → where its bytes are."""

    first: int
    rows: int
    chunks: dict[str, Chunk]


@dataclass(frozen=True)
class Footer:
    """The content of a footer. `fields`: as in the API. `groups`: without empty ones."""

    fields: dict[str, ColumnInfo]
    groups: Sequence[RowGroup]
    rows: int


class _Leaf(NamedTuple):
    name: str
    physical: int
    dtype: str
    is_list: bool


def footer_size(size: int, tail: bytes) -> int:
    """Bytes from the footer's start to the file's end. `tail`: the last bytes of the file.

    Raises BadTable.
    """
    if tail[-4:] != MAGIC or len(tail) < TAIL:
        raise BadTable("not_a_table", "the file begins like a Parquet file, and ends otherwise; it may be cut off or encrypted")
    length = int.from_bytes(tail[-TAIL:-4], "little") + TAIL
    if length > min(FOOTER_LIMIT, size - len(MAGIC)):
        detail = f"the Parquet file claims a footer of {length} bytes; it has {size} bytes, and at most {FOOTER_LIMIT} are allowed"
        raise BadTable("header_mismatch", f"{detail}: write larger row groups")
    return length


def read_footer(content: bytes, size: int) -> Footer:
    """The footer. `content`: the file from the footer's start. `size`: bytes of the file.

    Raises BadTable.
    """
    document = read_struct(content[:-TAIL])
    try:
        return _footer(document, size - len(content))
    except (KeyError, TypeError, AttributeError, IndexError, UnicodeDecodeError, OverflowError) as error:
        raise BadTable("header_mismatch", "the footer of the Parquet file lacks a value, or has one of another type") from error


def _footer(document: Struct, end: int) -> Footer:
    leaves = _leaves(document[2])
    check_names([leaf.name for leaf in leaves])
    groups, first = [], 0
    widths: dict[str, int] = {}
    for group in document[4]:
        rows = _count(group[3])
        if rows:
            chunks = _chunks(group[1], leaves, rows, widths)
            groups.append(RowGroup(first, rows, chunks))
            first += rows
    if first != document[3]:
        raise BadTable("header_mismatch", f"the row groups have {first} rows, and the footer claims {document[3]}")
    if not first:
        raise BadTable("no_examples", "the Parquet file has no rows; expected at least one example")
    _check_places([chunk for group in groups for chunk in group.chunks.values()], end)
    shapes = _shapes(document.get(5, []))
    return Footer({leaf.name: _info(leaf, widths.get(leaf.name), shapes) for leaf in leaves}, groups, first)


def _leaves(schema: list[Struct]) -> list[_Leaf]:
    leaves, at = [], 1
    for _ in range(_count(schema[0].get(5, 0))):
        leaf, at = _leaf(schema, at)
        leaves.append(leaf)
    if at != len(schema) or not leaves:
        raise BadTable("header_mismatch", f"the schema of the Parquet file has {len(schema)} entries, of which {at} are used")
    return leaves


def _leaf(schema: list[Struct], at: int) -> tuple[_Leaf, int]:
    """The field whose entries begin at this index, and the index after them."""
    top = schema[at]
    name = top[4].decode()
    if "." in name:
        raise BadTable("bad_field_name", f"field {name!r} has a '.' in its name, which Parquet uses for nested fields; rename it")
    if 5 not in top:
        if top.get(3) == 2:
            raise _nested(name)
        return _Leaf(name, top[1], _dtype(name, top), is_list=False), at + 1
    is_list = top.get(6) == _LIST or _LIST in top.get(10, {})
    middle, element = (schema[at + 1], schema[at + 2]) if is_list else ({}, {5: 1})
    if top[5] != 1 or middle.get(5) != 1 or middle.get(3) != 2 or 5 in element or element.get(3) == 2:
        raise _nested(name)
    return _Leaf(name, element[1], _dtype(name, element), is_list=True), at + 3


def _dtype(name: str, entry: Struct) -> str:
    physical, converted, logical = entry[1], entry.get(6), entry.get(10, {})
    if converted is not None:
        dtype = _CONVERTED.get((physical, converted))
    elif _FLOAT16 in logical and (physical, entry.get(2)) == (7, 2):
        dtype = "float16"
    else:
        dtype = None if logical else _PLAIN.get(physical)
    if dtype is None:
        detail = f"field {name!r} has the Parquet type {physical}, converted type {converted}; accepted are {_ACCEPTED}"
        raise BadTable("unsupported_dtype", f"{detail}: leave the field out, or convert it")
    return dtype


def _nested(name: str) -> BadTable:
    return BadTable(
        "unsupported_dtype",
        f"field {name!r} is nested; accepted are {_ACCEPTED}: save it as one list for each row, and its shape in the metadata "
        f"{SHAPES!r} of the file",
    )


def _chunks(columns: list[Struct], leaves: Sequence[_Leaf], rows: int, widths: dict[str, int]) -> dict[str, Chunk]:
    if len(columns) != len(leaves):
        raise BadTable("header_mismatch", f"a row group has {len(columns)} columns, and the schema has {len(leaves)}")
    return {leaf.name: _chunk(column, leaf, rows, widths) for column, leaf in zip(columns, leaves, strict=True)}


def _chunk(column: Struct, leaf: _Leaf, rows: int, widths: dict[str, int]) -> Chunk:
    """Where the bytes of a field are. Notes the length of its lists in `widths`."""
    if 1 in column or 8 in column or 9 in column:
        raise BadTable("unsupported_dtype", f"field {leaf.name!r} is encrypted, or in another file; neither can be read")
    about = column[3]
    values, size = _count(about[5]), _count(about[7])
    width, rest = divmod(values, rows)
    if about[1] != leaf.physical or rest or (not leaf.is_list and width != 1):
        detail = f"field {leaf.name!r} has {values} values in a row group of {rows} rows"
        raise BadTable("unequal_lists" if leaf.is_list else "header_mismatch", f"{detail}; all rows must have equally many")
    if widths.setdefault(leaf.name, width) != width:
        detail = f"field {leaf.name!r} has lists of {width} and of {widths[leaf.name]} values; all must have the same length"
        raise BadTable("unequal_lists", detail)
    if about.get(12, {}).get(3):
        raise null_values(leaf.name, about[12][3])
    start = min(_count(offset) for offset in (about[9], about.get(11) or about[9]))
    return Chunk(start, start + size)


def null_values(name: str, count: int) -> BadTable:
    """The error for a field with missing values."""
    return BadTable("null_values", f"field {name!r} has {count} missing values (null); each row must have a value: fill them")


def _check_places(chunks: list[Chunk], end: int) -> None:
    at = len(MAGIC)
    for chunk in sorted(chunks):
        if chunk.start < at or chunk.stop > end:
            raise BadTable("header_mismatch", f"bytes {chunk.start} to {chunk.stop} of a column overlap another, or leave the file")
        at = chunk.stop


def _shapes(metadata: list[Struct]) -> dict[str, list[int]]:
    texts = [entry.get(2, b"") for entry in metadata if entry[1] == SHAPES.encode()]
    try:
        shapes = json.loads(texts[-1]) if texts else {}
    except (ValueError, RecursionError):
        shapes = None
    if not isinstance(shapes, dict):
        raise BadTable("header_mismatch", f'the metadata {SHAPES!r} must be an object such as {{"x": [1, 28, 28]}}')
    return shapes


def _info(leaf: _Leaf, width: int | None, shapes: dict[str, list[int]]) -> ColumnInfo:
    axes = [width or 0] if leaf.is_list else []
    shape = list(checked_shape(leaf.name, shapes.get(leaf.name, axes), 8))
    if math.prod(shape) != math.prod(axes):
        detail = f"field {leaf.name!r} has {math.prod(axes)} values in each row; its shape {shape} needs {math.prod(shape)}"
        raise BadTable("header_mismatch", detail)
    return {"dtype": leaf.dtype, "shape": [None, *shape]}


def _count(value: object) -> int:
    if type(value) is not int or not 0 <= value < 2**62:
        raise BadTable("header_mismatch", f"the footer of the Parquet file has the count or offset {str(value)[:40]}")
    return value
