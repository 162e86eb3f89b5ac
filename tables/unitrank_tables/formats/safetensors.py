"""The fields of a safetensors file, read from its header and compared with the size of the file."""

import json
import mmap
from collections.abc import Sequence

from unitrank_tables.columns import Column, check_names, checked_shape
from unitrank_tables.elements import safetensors_element
from unitrank_tables.errors import BadTable

HEADER_LIMIT = 1024 * 1024
_KEYS = {"dtype", "shape", "data_offsets"}


def safetensors_columns(memory: mmap.mmap) -> list[Column]:
    """The fields in the order of their data. Raises BadTable."""
    entries, start = safetensors_header(memory)
    check_names(list(entries))
    columns = sorted(
        (_column(memory, name, entry, start) for name, entry in entries.items()), key=lambda column: (column.offset, column.bytes)
    )
    _check_cover(columns, start, len(memory))
    return columns


def safetensors_header(memory: mmap.mmap) -> tuple[dict[str, object], int]:
    """Name → description of each tensor, and the offset where the data begin. Raises BadTable."""
    length = int.from_bytes(memory[:8], "little")
    start = 8 + length
    if length > HEADER_LIMIT or start > len(memory):
        detail = f"the header claims {length} bytes; at most {HEADER_LIMIT} are allowed, and the file has {len(memory)} bytes"
        raise BadTable("header_mismatch", detail)
    return _entries(memory[8:start]), start


def _entries(header: bytes) -> dict[str, object]:
    try:
        entries = json.loads(header, object_pairs_hook=_object)
    except (ValueError, RecursionError) as error:
        raise BadTable("header_mismatch", "the header of the safetensors file is not a JSON object") from error
    if not isinstance(entries, dict):
        raise BadTable("header_mismatch", "the header of the safetensors file is not a JSON object")
    entries.pop("__metadata__", None)
    return entries


def _object(pairs: Sequence[tuple[str, object]]) -> dict[str, object]:
    entries = dict(pairs)
    if len(entries) != len(pairs):
        raise BadTable("duplicate_field", "the header of the safetensors file has a name twice")
    return entries


def _column(memory: mmap.mmap, name: str, entry: object, start: int) -> Column:
    if not isinstance(entry, dict) or entry.keys() != _KEYS:
        raise BadTable("header_mismatch", f"the header must describe field {name!r} by the keys {sorted(_KEYS)}")
    element = safetensors_element(name, entry["dtype"])
    shape = checked_shape(name, entry["shape"], element.stored.itemsize)
    begin, end = _offsets(name, entry["data_offsets"])
    column = Column(name, element, shape, lambda: memory, start + begin)
    if end - begin != column.bytes:
        raise BadTable(
            "header_mismatch", f"field {name!r} needs {column.bytes} bytes for its shape; its offsets span {end - begin}"
        )
    return column


def _offsets(name: str, offsets: object) -> tuple[int, int]:
    if not isinstance(offsets, list) or len(offsets) != 2 or not all(type(offset) is int and offset >= 0 for offset in offsets):
        raise BadTable("header_mismatch", f"field {name!r} must have two offsets: the start and the end of its data")
    return offsets[0], offsets[1]


def _check_cover(columns: Sequence[Column], start: int, size: int) -> None:
    """Raises BadTable if the data have a gap or an overlap, or end before the end of the file."""
    at = start
    for column in columns:
        if column.offset != at:
            raise BadTable("header_mismatch", f"field {column.name!r} does not begin at byte {at}, where the data before it end")
        at += column.bytes
    if at != size:
        raise BadTable("header_mismatch", f"the fields end at byte {at} of a file of {size} bytes")
