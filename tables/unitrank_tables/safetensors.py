"""The fields of a safetensors file, from its header, every claim held against the file's size."""

import json
import mmap
from collections.abc import Sequence

from unitrank_tables.columns import Column, check_names, checked_shape
from unitrank_tables.elements import safetensors_element
from unitrank_tables.errors import BadTable

HEADER_LIMIT = 1024 * 1024
_KEYS = {"dtype", "shape", "data_offsets"}


def safetensors_columns(memory: mmap.mmap) -> list[Column]:
    """In the order of their data. Raises BadTable."""
    entries, start = safetensors_header(memory)
    check_names(list(entries))
    columns = sorted(
        (_column(memory, name, entry, start) for name, entry in entries.items()), key=lambda each: (each.offset, each.bytes)
    )
    _check_cover(columns, start, len(memory))
    return columns


def safetensors_header(memory: mmap.mmap) -> tuple[dict[str, object], int]:
    """What is said of each tensor by its name, and where their data begin. Raises BadTable."""
    length = int.from_bytes(memory[:8], "little")
    start = 8 + length
    if length > HEADER_LIMIT or start > len(memory):
        raise BadTable("header_mismatch", f"a header of {length} bytes; a file of {len(memory)} can hold no such one")
    return _entries(memory[8:start]), start


def _entries(header: bytes) -> dict[str, object]:
    try:
        found = json.loads(header, object_pairs_hook=_object)
    except (ValueError, RecursionError) as error:
        raise BadTable("header_mismatch", "the header of the safetensors file is no JSON object") from error
    if not isinstance(found, dict):
        raise BadTable("header_mismatch", "the header of the safetensors file is no JSON object")
    found.pop("__metadata__", None)
    return found


def _object(pairs: Sequence[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise BadTable("duplicate_field", "the header of the safetensors file names the same thing twice")
    return found


def _column(memory: mmap.mmap, name: str, entry: object, start: int) -> Column:
    if not isinstance(entry, dict) or entry.keys() != _KEYS:
        raise BadTable("header_mismatch", f"field {name!r} must be described by {sorted(_KEYS)}")
    element = safetensors_element(name, entry["dtype"])
    shape = checked_shape(name, entry["shape"], element.stored.itemsize)
    begin, end = _offsets(name, entry["data_offsets"])
    column = Column(name, element, shape, lambda: memory, start + begin)
    if end - begin != column.bytes:
        raise BadTable(
            "header_mismatch", f"field {name!r} takes {column.bytes} bytes by its shape and {end - begin} by its offsets"
        )
    return column


def _offsets(name: str, found: object) -> tuple[int, int]:
    if not isinstance(found, list) or len(found) != 2 or not all(type(place) is int and place >= 0 for place in found):
        raise BadTable("header_mismatch", f"field {name!r} must have two offsets, where its data begin and end")
    return found[0], found[1]


def _check_cover(columns: Sequence[Column], start: int, size: int) -> None:
    """Data follow each other without overlap or gap up to the file's end, as the format demands."""
    at = start
    for column in columns:
        if column.offset != at:
            raise BadTable("header_mismatch", f"field {column.name!r} does not begin where the data before it end")
        at += column.bytes
    if at != size:
        raise BadTable("header_mismatch", f"the fields end at byte {at} of a file of {size} bytes")
