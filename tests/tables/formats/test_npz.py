"""Hostile npz archives are refused by their headers, before their data are read."""

import io
import struct
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest

from unitrank_tables import Table, open_table
from unitrank_tables.errors import BadTable


def npy(descr: str = "'<f4'", shape: str = "(2, 3)", fortran: str = "False", data: bytes = b"\0" * 24, version: int = 1) -> bytes:
    return raw_npy(f"{{'descr': {descr}, 'fortran_order': {fortran}, 'shape': {shape}}}".encode(), data, version)


def raw_npy(header: bytes, data: bytes = b"\0" * 24, version: int = 1) -> bytes:
    length = struct.pack("<H" if version == 1 else "<I", len(header))
    return b"\x93NUMPY" + bytes([version, 0]) + length + header + data


def archive(members: dict[str, bytes], packing: int = zipfile.ZIP_STORED) -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", packing) as written:
        for name, data in members.items():
            written.writestr(name, data)
    return sink.getvalue()


def opened(folder: Path, data: bytes) -> Table:
    path = folder / "table"
    path.write_bytes(data)
    return open_table(path)


def code_of(folder: Path, data: bytes) -> str:
    with pytest.raises(BadTable) as caught:
        opened(folder, data)
    return caught.value.code


@pytest.mark.parametrize("version", [1, 2, 3])
@pytest.mark.parametrize("packing", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_headers_of_every_version_are_read(tmp_path: Path, version: int, packing: int) -> None:
    data = np.arange(6, dtype="<f4").tobytes()
    with opened(tmp_path, archive({"x.npy": npy(data=data, version=version)}, packing)) as table:
        assert table.read("x", slice(None)).tolist() == [[0, 1, 2], [3, 4, 5]]


@pytest.mark.parametrize("packing", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize(
    ("member", "code"),
    [
        (npy(shape="(2, 4)"), "header_mismatch"),
        (npy(shape="(1000000000, 3)"), "header_mismatch"),
        (npy(shape="(2, -3)"), "header_mismatch"),
        (npy(shape="(True, 6)"), "header_mismatch"),
        (npy(shape="(2.0, 3)"), "header_mismatch"),
        (npy(shape="[2, 3]"), "header_mismatch"),
        (npy(shape=f"(2, {2**70}, 0)", data=b""), "header_mismatch"),
        (npy(shape=f"(0, {2**62})", data=b""), "header_mismatch"),
        (npy(shape="(" + "1, " * 40 + ")", data=b"\0" * 4), "header_mismatch"),
        (npy(descr="'<f8'"), "header_mismatch"),
        (npy(fortran="0"), "header_mismatch"),
        (npy(descr="'|O'"), "pickled_array"),
        (npy(descr="'O8'"), "pickled_array"),
        (npy(descr="'<c8'"), "unsupported_dtype"),
        (npy(descr="'<f16'"), "unsupported_dtype"),
        (npy(descr="'f4,f4'"), "unsupported_dtype"),
        (npy(descr="[('a', '<f4')]"), "unsupported_dtype"),
        (npy(descr="'U100000000000'"), "unsupported_dtype"),
        (npy(descr="'U65536'"), "unsupported_dtype"),
        (npy(descr="'<U0'"), "unsupported_dtype"),
        (npy(descr="'|b2'"), "unsupported_dtype"),
        (npy(descr="4"), "unsupported_dtype"),
        (npy(descr="__import__('os').abort()"), "header_mismatch"),
        (raw_npy(b"{}"), "header_mismatch"),
        (raw_npy(b"(" * 9000), "header_mismatch"),
        (raw_npy(b"-" * 9000 + b"1"), "header_mismatch"),
        (raw_npy(b"9" * 9000), "header_mismatch"),
        (raw_npy(b"\xff\xfe", version=3), "header_mismatch"),
        (raw_npy(b"{'a': 1" + b" " * 20_000 + b"}"), "header_mismatch"),
        (b"\x93NUMPY\x01\x00\xff\xff{}", "header_mismatch"),
        (b"\x93NUMPY\x02\x00\xff\xff\xff\xff{}", "header_mismatch"),
        (b"\x93NUMPY\x04\x00\x02\x00{}", "not_a_table"),
        (b"\x93NUMPY", "not_a_table"),
        (b"\x80\x04\x95 a pickle under a false name", "not_a_table"),
        (b"", "not_a_table"),
    ],
)
def test_a_lying_or_foreign_member_has_its_code(tmp_path: Path, member: bytes, code: str, packing: int) -> None:
    assert code_of(tmp_path, archive({"x.npy": member}, packing)) == code


@pytest.mark.parametrize("name", ["x", "x.txt", "folder/", ".npy", "../../etc/passwd", "x.npy/"])
def test_a_member_that_is_not_an_array_is_refused(tmp_path: Path, name: str) -> None:
    assert code_of(tmp_path, archive({"y.npy": npy(), name: npy()})) in {"not_a_table", "bad_field_name"}


def test_a_name_that_looks_like_a_path_is_only_a_name(tmp_path: Path) -> None:
    with opened(tmp_path, archive({"../x.npy": npy()})) as table:
        assert list(table.fields) == ["../x"]


def test_a_name_that_comes_twice_is_refused(tmp_path: Path) -> None:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as written:
        written.writestr("x.npy", npy())
        with pytest.warns(UserWarning, match="Duplicate"):
            written.writestr("x.npy", npy())

    assert code_of(tmp_path, sink.getvalue()) == "duplicate_field"


@pytest.mark.parametrize("packing", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_packings_are_refused(tmp_path: Path, packing: int) -> None:
    assert code_of(tmp_path, archive({"x.npy": npy()}, packing)) == "not_a_table"


def patched(data: bytes, offset: int, value: bytes) -> bytes:
    """The archive with one changed field in its only directory entry."""
    at = data.index(b"PK\x01\x02") + offset
    return data[:at] + value + data[at + len(value) :]


@pytest.mark.parametrize(
    ("offset", "value", "code"),
    [
        (8, b"\x01\x00", "not_a_table"),  # encrypted
        (20, struct.pack("<I", 2**31), "header_mismatch"),  # packed size past the file
        (24, struct.pack("<I", 2**31), "header_mismatch"),  # unpacked size that deflate cannot reach
        (42, struct.pack("<I", 10**6), "not_a_table"),  # entry past the file
        (42, struct.pack("<I", 5), "not_a_table"),  # entry in the middle of another
    ],
)
def test_a_lying_directory_is_refused(tmp_path: Path, offset: int, value: bytes, code: str) -> None:
    for packing in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        assert code_of(tmp_path, patched(archive({"x.npy": npy()}, packing), offset, value)) == code


def test_a_bomb_is_refused_without_being_unpacked(tmp_path: Path) -> None:
    rows = 400_000_000
    header = npy("'|u1'", f"({rows},)", data=b"")
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as written, written.open("x.npy", "w") as member:
        member.write(header)
        for _ in range(rows // 10**7):
            member.write(bytes(10**7))
    path = tmp_path / "table"
    path.write_bytes(packed.getvalue())
    tracemalloc.start()
    try:
        with pytest.raises(BadTable) as caught:
            open_table(path, limit=rows - 1)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert caught.value.code == "dataset_too_large"
    assert peak < 10**6


def test_a_directory_of_a_hundred_thousand_entries_is_refused_unread(tmp_path: Path) -> None:
    single = archive({"x.npy": npy()})
    start = single.index(b"PK\x01\x02")
    entry, end = single[start : single.index(b"PK\x05\x06")], single[single.index(b"PK\x05\x06") :]
    end = end[:12] + struct.pack("<II", len(entry) * 100_000, start) + end[20:]

    assert code_of(tmp_path, single[:start] + entry * 100_000 + end) == "too_many_fields"


def test_data_that_do_not_unpack_to_the_announced_size_are_damaged_when_read(tmp_path: Path) -> None:
    good = archive({"x.npy": npy(shape="(6000,)", data=np.random.default_rng(0).bytes(24_000))}, zipfile.ZIP_DEFLATED)
    for bad in (patched(good, 16, b"\0\0\0\0"), good[:20_000] + b"\xaa" * 8 + good[20_008:]):
        with opened(tmp_path, bad) as table:
            assert table.examples == 6000
            with pytest.raises(BadTable) as caught:
                table.read("x", slice(None))

        assert caught.value.code == "damaged"


def test_a_packed_field_is_unpacked_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(tmp_path, archive({"x.npy": npy()}, zipfile.ZIP_DEFLATED)) as table:
        table.read("x", [0])
        monkeypatch.setattr("zlib.decompressobj", None)

        assert table.read("x", [1]).shape == (1, 3)


def test_a_member_that_unpacks_to_more_than_its_header_claims_is_refused_during_unpacking(tmp_path: Path) -> None:
    honest = npy("'|u1'", "(1000,)", data=bytes(1000))
    content = bytearray(archive({"x.npy": honest + bytes(300_000_000)}, zipfile.ZIP_DEFLATED))
    # The size that the directory and the local header state.
    for sign, offset in ((b"PK\x01\x02", 24), (b"PK\x03\x04", 22)):
        at = content.rindex(sign) + offset
        content[at : at + 4] = struct.pack("<I", len(honest))
    table = opened(tmp_path, bytes(content))

    tracemalloc.start()
    try:
        with pytest.raises(BadTable) as caught:
            table.read("x", slice(None))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert caught.value.code == "damaged"
    assert peak < 20_000_000
