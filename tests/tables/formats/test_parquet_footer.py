"""Footers of Parquet files are read without native code; forged ones are rejected."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unitrank_tables.errors import BadTable
from unitrank_tables.formats.parquet_footer import FOOTER_LIMIT, Footer, footer_size, read_footer
from unitrank_tables.formats.thrift import read_struct

ROWS = 10
SIZE = 10_000


def varint(value: int) -> bytes:
    head = b""
    while value >= 128:
        head, value = head + bytes([value & 127 | 128]), value >> 7
    return head + bytes([value])


def encoded(value: Any) -> tuple[int, bytes]:
    """Type and bytes of a value in Thrift's compact protocol."""
    if isinstance(value, int):
        return 6, varint((value << 1) ^ (value >> 63))
    if isinstance(value, bytes):
        return 8, varint(len(value)) + value
    if isinstance(value, list):
        kinds = {encoded(item)[0] for item in value} or {6}
        return 9, bytes([0xF0 | kinds.pop()]) + varint(len(value)) + b"".join(encoded(item)[1] for item in value)
    fields = ((number, *encoded(item)) for number, item in value.items())
    return 12, b"".join(bytes([kind]) + varint(number << 1) + data for number, kind, data in fields) + b"\0"


def chunk(start: int, *, values: int = ROWS, size: int = 100, kind: int = 4, **more: Any) -> dict[int, Any]:
    return {3: {1: kind, 5: values, 7: size, 9: start} | {int(key[1:]): value for key, value in more.items()}}


def document(**changes: Any) -> dict[int, Any]:
    """A footer with a field `x` of real numbers and a field `v` of lists of two numbers."""
    fields = [
        {4: b"schema", 5: 2},
        {1: 4, 3: 1, 4: b"x"},
        {3: 1, 4: b"v", 5: 1, 6: 3},
        {3: 2, 4: b"list", 5: 1},
        {1: 4, 3: 1, 4: b"element"},
    ]
    groups = [{1: [chunk(4), chunk(104, values=2 * ROWS)], 3: ROWS}]
    return {1: 2, 2: fields, 3: ROWS, 4: groups} | {int(key[1:]): value for key, value in changes.items()}


def read(value: dict[int, Any]) -> Footer:
    return read_footer(encoded(value)[1] + bytes(4) + b"PAR1", SIZE)


def group(*chunks: dict[int, Any], rows: int = ROWS) -> list[dict[int, Any]]:
    return [{1: list(chunks), 3: rows}]


def test_footer_when_it_is_right_then_has_fields_and_row_groups() -> None:
    footer = read(document())

    assert footer.fields == {"x": {"dtype": "float32", "shape": [None]}, "v": {"dtype": "float32", "shape": [None, 2]}}
    assert (footer.rows, len(footer.groups)) == (ROWS, 1)
    assert footer.groups[0].chunks == {"x": (4, 104), "v": (104, 204)}


def test_chunk_when_it_has_a_dictionary_then_begins_there() -> None:
    footer = read(document(_4=group(chunk(50, _11=4), chunk(104, values=20))))

    assert footer.groups[0].chunks["x"].start == 4


SCHEMA = document()[2]
FORGED: dict[str, tuple[dict[int, Any], str]] = {
    "beyond the file": (document(_4=group(chunk(4), chunk(104, values=20, size=SIZE))), "header_mismatch"),
    "negative offset": (document(_4=group(chunk(-4), chunk(104, values=20))), "header_mismatch"),
    "negative size": (document(_4=group(chunk(4, size=-1), chunk(104, values=20))), "header_mismatch"),
    "overlap": (document(_4=group(chunk(4), chunk(50, values=20))), "header_mismatch"),
    "into the footer": (document(_4=group(chunk(4), chunk(SIZE - 10, values=20))), "header_mismatch"),
    "before the start": (document(_4=group(chunk(0), chunk(104, values=20))), "header_mismatch"),
    "huge": (document(_4=group(chunk(2**63 - 1), chunk(104, values=20))), "header_mismatch"),
    "negative rows": (document(_4=group(chunk(4), chunk(104, values=20), rows=-ROWS)), "header_mismatch"),
    "other rows": (document(_3=ROWS + 1), "header_mismatch"),
    "no rows": (document(_3=0, _4=[]), "no_examples"),
    "too few values": (document(_4=group(chunk(4, values=9), chunk(104, values=20))), "header_mismatch"),
    "unequal lists": (document(_4=group(chunk(4), chunk(104, values=21))), "unequal_lists"),
    "other type": (document(_4=group(chunk(4, kind=5), chunk(104, values=20))), "header_mismatch"),
    "missing column": (document(_4=group(chunk(4))), "header_mismatch"),
    "nulls": (document(_4=group(chunk(4, _12={3: 1}), chunk(104, values=20))), "null_values"),
    "other file": (document(_4=group({1: b"/etc/passwd"} | chunk(4), chunk(104, values=20))), "unsupported_dtype"),
    "children that are missing": (document(_2=[{4: b"schema", 5: 9}, *SCHEMA[1:]]), "header_mismatch"),
    "children that are left": (document(_2=[{4: b"schema", 5: 1}, *SCHEMA[1:]]), "header_mismatch"),
    "many children": (document(_2=[{4: b"schema", 5: 2**60}, *SCHEMA[1:]]), "header_mismatch"),
    "no schema": (document(_2=[]), "header_mismatch"),
    "repeated names": (document(_2=[SCHEMA[0], {1: 4, 3: 1, 4: b"v"}, *SCHEMA[2:]]), "duplicate_field"),
    "dotted name": (document(_2=[SCHEMA[0], {1: 4, 3: 1, 4: b"a.b"}, *SCHEMA[2:]]), "bad_field_name"),
    "bytes as name": (document(_2=[SCHEMA[0], {1: 4, 3: 1, 4: b"\xff"}, *SCHEMA[2:]]), "header_mismatch"),
    "a number as name": (document(_2=[SCHEMA[0], {1: 4, 3: 1, 4: 7}, *SCHEMA[2:]]), "header_mismatch"),
    "repeated top": (document(_2=[SCHEMA[0], {1: 4, 3: 2, 4: b"x"}, *SCHEMA[2:]]), "unsupported_dtype"),
    "int96": (document(_2=[SCHEMA[0], {1: 3, 3: 1, 4: b"x"}, *SCHEMA[2:]]), "unsupported_dtype"),
    "lists in lists": (document(_2=[*SCHEMA[:4], {3: 1, 4: b"element", 5: 1, 6: 3}]), "unsupported_dtype"),
    "rows as text": (document(_3=b"10"), "header_mismatch"),
    "groups as a number": (document(_4=7), "header_mismatch"),
    "shapes as a list": (document(_5=[{1: b"unitrank.shapes", 2: b"[1]"}]), "header_mismatch"),
    "shapes that are nested": (document(_5=[{1: b"unitrank.shapes", 2: b"[" * 100_000}]), "header_mismatch"),
}


@pytest.mark.parametrize("name", FORGED)
def test_footer_when_forged_then_is_rejected(name: str) -> None:
    forged, code = FORGED[name]

    with pytest.raises(BadTable) as caught:
        read(forged)
    assert caught.value.code == code


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x19\xff\xff\xff\xff\x7f",
        b"\x18\xff\xff\xff\xff\x7f",
        b"\x16" + b"\xff" * 20,
        b"\x1c" * 1000,
        b"\x19\x19" * 1000,
        b"\x1d",
        b"\x1b\xff\xff\xff\x7f\x66",
    ],
    ids=["empty", "long list", "long text", "long number", "deep structs", "deep lists", "unknown type", "long map"],
)
def test_thrift_when_forged_then_is_rejected(content: bytes) -> None:
    with pytest.raises(BadTable) as caught:
        read_struct(content)
    assert caught.value.code == "header_mismatch"


@given(st.data())
def test_footer_when_any_byte_is_changed_then_is_read_or_rejected(data: st.DataObject) -> None:
    content = bytearray(encoded(document())[1])
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))

    try:
        footer = read_footer(bytes(content) + bytes(4) + b"PAR1", SIZE)
    except BadTable:
        return
    places = sorted(place for each in footer.groups for place in each.chunks.values())
    assert all(0 <= start <= stop <= SIZE for start, stop in places)
    assert sum(each.rows for each in footer.groups) == footer.rows > 0


@pytest.mark.parametrize(
    ("tail", "code"),
    [
        (b"\x08\x00\x00\x00PARE", "not_a_table"),
        (b"\xff\xff\xff\xffPAR1", "header_mismatch"),
        (b"\x00\x00\x01\x00PAR1", "header_mismatch"),
        (b"PAR1", "not_a_table"),
    ],
)
def test_tail_when_forged_then_is_rejected(tail: bytes, code: str) -> None:
    with pytest.raises(BadTable) as caught:
        footer_size(1000, tail)
    assert caught.value.code == code


def test_footer_when_it_is_very_long_then_is_rejected_before_it_is_read() -> None:
    with pytest.raises(BadTable, match="larger row groups"):
        footer_size(2**40, (FOOTER_LIMIT + 1).to_bytes(4, "little") + b"PAR1")
