"""A field of a table, as its header describes it, and the checks over all fields of a table."""

import math
import mmap
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypedDict

from unitrank_tables.elements import Element
from unitrank_tables.errors import BadTable

MAX_FIELDS = 1000
MAX_AXES = 32
LONGEST_NAME = 128


class ColumnInfo(TypedDict):
    """The description of a field in the API; `shape` begins with null, the axis of the examples."""

    dtype: str
    shape: list[int | None]


@dataclass(frozen=True)
class Column:
    """A field whose data begin `offset` bytes into the memory that `source()` returns.

    That memory is the mapped file, or the unpacked data of a compressed field.
    `packed`: whether the field is compressed.
    """

    name: str
    element: Element
    shape: tuple[int, ...]
    source: Callable[[], mmap.mmap]
    offset: int
    fortran: bool = False
    packed: bool = False

    @property
    def bytes(self) -> int:
        return math.prod(self.shape) * self.element.stored.itemsize

    @property
    def info(self) -> ColumnInfo:
        return {"dtype": self.element.public, "shape": [None, *self.shape[1:]]}


def checked_shape(field: str, shape: object, itemsize: int) -> tuple[int, ...]:
    """The shape as a tuple. Raises BadTable for a shape that an array cannot have."""
    if not isinstance(shape, Sequence) or not all(type(axis) is int and axis >= 0 for axis in shape):
        raise BadTable("header_mismatch", f"field {field!r} has the shape {str(shape)[:60]}; expected a list of sizes")
    if len(shape) > MAX_AXES or math.prod(max(axis, 1) for axis in shape) * itemsize > sys.maxsize:
        detail = f"has the shape {str(shape)[:60]}; at most {MAX_AXES} axes and {sys.maxsize} bytes are possible"
        raise BadTable("header_mismatch", f"field {field!r} {detail}")
    return tuple(shape)


def check_columns(columns: Sequence[Column], limit: int) -> int:
    """The number of examples. Raises BadTable unless it is equal in all fields.

    `limit`: bytes of unpacked data.
    """
    if not columns:
        raise BadTable("no_fields", "the table has no fields; expected at least one array")
    total = sum(column.bytes for column in columns)
    if total > limit:
        raise BadTable("dataset_too_large", f"the arrays take {total} bytes when unpacked; at most {limit} are allowed")
    return _examples(columns)


def check_names(names: Sequence[str]) -> None:
    """Raises BadTable for a repeated or unprintable name, and for too many names."""
    if len(names) > MAX_FIELDS:
        raise BadTable("too_many_fields", f"the table has {len(names)} fields; at most {MAX_FIELDS} are allowed")
    seen: set[str] = set()
    for name in names:
        if not name.isprintable() or not 0 < len(name) <= LONGEST_NAME:
            raise BadTable(
                "bad_field_name", f"a field's name must have 1 to {LONGEST_NAME} printable characters, got {name[:60]!r}"
            )
        if name in seen:
            raise BadTable("duplicate_field", f"the table has two fields named {name!r}")
        seen.add(name)


def _examples(columns: Sequence[Column]) -> int:
    for column in columns:
        if not column.shape:
            raise BadTable("unequal_lengths", f"field {column.name!r} is a single number; expected one row for each example")
    first = columns[0]
    for column in columns:
        if column.shape[0] != first.shape[0]:
            lengths = f"field {first.name!r} has {first.shape[0]} rows and {column.name!r} has {column.shape[0]}"
            raise BadTable("unequal_lengths", f"{lengths}; all fields must have the same number")
    if first.shape[0] == 0:
        raise BadTable("no_examples", "the fields have no rows; expected at least one example")
    return first.shape[0]
