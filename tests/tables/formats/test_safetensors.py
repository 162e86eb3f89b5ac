"""Safetensors files: hostile headers are refused, and bfloat16 is read as float32."""

import json
import struct
from pathlib import Path

import pytest

from unitrank_tables import Table, open_table
from unitrank_tables.errors import BadTable

F32 = {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}


def file(header: object, data: bytes = b"\0" * 24) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def opened(folder: Path, data: bytes) -> Table:
    path = folder / "table"
    path.write_bytes(data)
    return open_table(path)


def entry(**changes: object) -> dict[str, object]:
    return {"x": {**F32, **changes}}


def test_metadata_is_not_a_field(tmp_path: Path) -> None:
    with opened(tmp_path, file({"__metadata__": {"format": "pt"}, "x": F32})) as table:
        assert table.fields == {"x": {"dtype": "float32", "shape": [None, 2 + 1]}}
        assert table.format == "safetensors"


def test_bfloat16_is_read_as_the_float32_that_it_begins(tmp_path: Path) -> None:
    halves = struct.pack("<4H", 0x3F80, 0xC000, 0x7F80, 0x0001)
    with opened(tmp_path, file({"x": {"dtype": "BF16", "shape": [4], "data_offsets": [0, 8]}}, halves)) as table:
        read = table.read("x", slice(None))

        assert table.fields["x"]["dtype"] == str(read.dtype) == "float32"
        assert read.tolist() == [1.0, -2.0, float("inf"), struct.unpack("<f", struct.pack("<I", 0x10000))[0]]


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (file({}, b""), "no_fields"),
        (file(entry(shape=[2, 4])), "header_mismatch"),
        (file(entry(shape=[2, -3])), "header_mismatch"),
        (file(entry(shape=[True, 6])), "header_mismatch"),
        (file(entry(shape="23")), "header_mismatch"),
        (file(entry(shape=[2**40, 2**40])), "header_mismatch"),
        (file(entry(shape=[])), "header_mismatch"),
        (file(entry(shape=[], data_offsets=[0, 4]), b"\0" * 4), "unequal_lengths"),
        (file(entry(shape=[0, 6], data_offsets=[0, 0]), b""), "no_examples"),
        (file(entry(data_offsets=[24, 0])), "header_mismatch"),
        (file(entry(data_offsets=[-1, 23])), "header_mismatch"),
        (file(entry(data_offsets=[0, 24, 48])), "header_mismatch"),
        (file(entry(data_offsets=None)), "header_mismatch"),
        (file(entry(data_offsets=[4, 28]), b"\0" * 28), "header_mismatch"),
        (file(entry(), b"\0" * 23), "header_mismatch"),
        (file(entry(), b"\0" * 25), "header_mismatch"),
        (file(entry(dtype="C64", shape=[1, 3])), "unsupported_dtype"),
        (file(entry(dtype="F8_E4M3")), "unsupported_dtype"),
        (file(entry(dtype=4)), "unsupported_dtype"),
        (file(entry(more=1)), "header_mismatch"),
        (file({"x": 1}), "header_mismatch"),
        (file({"x": F32, "y": F32}), "header_mismatch"),
        (file(b'{"x": 1, "x": 2}'), "duplicate_field"),
        (file(b"{" + b" " * 20), "header_mismatch"),
        (file(b"{\xff"), "header_mismatch"),
        (file(b'{"x": ' + b"[" * 100_000), "header_mismatch"),
        (file(b'{"x": ' + b"9" * 10_000 + b"}"), "header_mismatch"),
        (file({"": F32}), "bad_field_name"),
        (file({"\ud800": F32}), "bad_field_name"),
        (struct.pack("<Q", 2**63) + b"{}", "header_mismatch"),
        (struct.pack("<Q", 100) + b"{}", "header_mismatch"),
    ],
)
def test_a_header_that_lies_has_its_code(tmp_path: Path, data: bytes, code: str) -> None:
    with pytest.raises(BadTable) as caught:
        opened(tmp_path, data)

    assert caught.value.code == code
