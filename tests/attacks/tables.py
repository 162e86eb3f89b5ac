"""Attacks on the reader of tables: hostile npz, safetensors and other files."""

import io
import json
import pickle
import struct
import warnings
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tests.attacks.running import Payload, pickled


@dataclass(frozen=True)
class TableAttack:
    """A hostile table.

    `make`: makes the bytes, from the path of the marker that code in the file would write.
    `code`: the code of the refusal.
    """

    make: Callable[[str], bytes]
    code: str


def npy(descr: str = "'<f4'", shape: str = "(2, 3)", data: bytes = bytes(24)) -> bytes:
    return raw_npy(f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}}}".encode(), data)


def raw_npy(header: bytes, data: bytes = bytes(24)) -> bytes:
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + data


def npz(packing: int = zipfile.ZIP_STORED, **members: bytes) -> bytes:
    return archive({f"{name}.npy": content for name, content in members.items()}, packing)


def archive(members: dict[str, bytes], packing: int = zipfile.ZIP_STORED) -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", packing) as file:
        for name, content in members.items():
            info = zipfile.ZipInfo("placeholder")
            info.filename = name
            info.compress_type = packing
            file.writestr(info, content)
    return sink.getvalue()


def linked(mode: int) -> bytes:
    """An npz whose array is a symbolic link."""
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as file:
        info = zipfile.ZipInfo("x.npy")
        info.external_attr = mode << 16
        file.writestr(info, b"/etc/passwd")
    return sink.getvalue()


def saved(**fields: object) -> bytes:
    """The npz that numpy writes."""
    sink = io.BytesIO()
    np.savez(sink, **fields)  # type: ignore[arg-type]
    return sink.getvalue()


def objects(marker: str) -> bytes:
    return saved(x=np.array([Payload(marker), 1], dtype=object))


def packed_objects(marker: str) -> bytes:
    sink = io.BytesIO()
    np.savez_compressed(sink, y=np.zeros(2), x=np.array([Payload(marker), 1], dtype=object))
    return sink.getvalue()


def pickled_member(marker: str) -> bytes:
    """An npz whose member is a pickle instead of an array.

    numpy.load returns the bytes, which some programs unpickle.
    """
    return archive({"x.npy": pickle.dumps(Payload(marker))})


def objects_alone(marker: str) -> bytes:
    sink = io.BytesIO()
    np.save(sink, np.array([Payload(marker)], dtype=object), allow_pickle=True)
    return sink.getvalue()


def twice(_: str) -> bytes:
    sink = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(sink, "w") as file:
        warnings.simplefilter("ignore")
        file.writestr("x.npy", npy())
        file.writestr("x.npy", npy())
    return sink.getvalue()


def bomb(_: str) -> bytes:
    """64 kB that claim to be 16 GB of zeros and unpack to 64 MB."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as file, file.open("x.npy", "w") as member:
        member.write(npy("'|u1'", f"({16 * 10**9},)", b""))
        member.write(bytes(64 << 20))
    return packed.getvalue()


def honest_bomb(_: str) -> bytes:
    """10 MB whose headers all claim 10 GB, a ratio that deflate can reach."""
    claimed = 10 * 10**9
    head = npy("'|u1'", f"({claimed},)", b"")
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    body = (packer.compress(head + bytes(1 << 20)) + packer.flush(zlib.Z_SYNC_FLUSH)).ljust(10 << 20, b"\0")
    content = archive({"x.npy": body})
    start = content.index(b"PK\x01\x02")
    entry = bytearray(content[start : content.index(b"PK\x05\x06")] + struct.pack("<HHQ", 1, 8, len(head) + claimed))
    struct.pack_into("<H", entry, 10, zipfile.ZIP_DEFLATED)
    struct.pack_into("<LLHH", entry, 20, len(body), 0xFFFFFFFF, len("x.npy"), 12)
    return content[:start] + entry + _end(1, len(entry), start)


def million_members(_: str) -> bytes:
    single = npz(x=npy())
    start = single.index(b"PK\x01\x02")
    entry = single[start : single.index(b"PK\x05\x06")]
    return single[:start] + entry * 1_000_000 + _end(0xFFFF, len(entry) * 1_000_000, start)


def _end(entries: int, size: int, start: int) -> bytes:
    return struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, entries, entries, size, start, 0)


def patched(offset: int, value: bytes, packing: int = zipfile.ZIP_STORED) -> bytes:
    """An npz with one changed field in its only directory entry."""
    content = npz(packing, x=npy())
    at = content.index(b"PK\x01\x02") + offset
    return content[:at] + value + content[at + len(value) :]


F32 = {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}


def safetensors(header: object, data: bytes = bytes(24)) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def fixed(content: bytes, code: str) -> TableAttack:
    """An attack whose bytes contain no code and need no marker."""
    return TableAttack(lambda _: content, code)


def field(code: str, data: bytes = bytes(24), **changes: object) -> TableAttack:
    return fixed(safetensors({"x": {**F32, **changes}}, data), code)


# `numpy.load(allow_pickle=True)`, or unpickling, runs the code of these.
PICKLES: dict[str, TableAttack] = {
    "objects": TableAttack(objects, "pickled_array"),
    "objects_packed": TableAttack(packed_objects, "pickled_array"),
    "objects_without_a_zip": TableAttack(objects_alone, "not_a_table"),
    "pickle": TableAttack(lambda marker: pickle.dumps(Payload(marker)), "not_a_table"),
    "old_pickle": TableAttack(lambda marker: pickle.dumps(Payload(marker), protocol=0), "not_a_table"),
    "pickle_in_a_member": TableAttack(pickled_member, "not_a_table"),
    "module": TableAttack(pickled, "not_a_table"),
}
NPZ: dict[str, TableAttack] = {
    "npz_bomb": TableAttack(bomb, "header_mismatch"),
    "npz_bomb_whose_sizes_agree": TableAttack(honest_bomb, "dataset_too_large"),
    "npz_million_members": TableAttack(million_members, "too_many_fields"),
    "npz_thousands_of_members": fixed(archive({f"{number}.npy": npy() for number in range(1001)}), "too_many_fields"),
    "npz_name_up": fixed(archive({"../../etc/passwd": npy()}), "not_a_table"),
    "npz_name_absolute": fixed(archive({"/etc/cron.d/evil": npy()}), "not_a_table"),
    "npz_name_with_escapes": fixed(archive({"\x1b[2J.npy": npy()}), "bad_field_name"),
    "npz_name_with_newline": fixed(archive({"x\nevent=forged.npy": npy()}), "bad_field_name"),
    "npz_name_too_long": fixed(archive({"x" * 5000 + ".npy": npy()}), "bad_field_name"),
    "npz_name_of_nothing": fixed(archive({".npy": npy()}), "bad_field_name"),
    "npz_name_twice": TableAttack(twice, "duplicate_field"),
    "npz_folder": fixed(archive({"x.npy/": b""}), "not_a_table"),
    "npz_foreign_member": fixed(archive({"x.npy": npy(), "evil.so": b"\x7fELF"}), "not_a_table"),
    "npz_symbolic_link": fixed(linked(0o120777), "not_a_table"),
    "npz_bzipped": fixed(npz(zipfile.ZIP_BZIP2, x=npy()), "not_a_table"),
    "npz_lzma": fixed(npz(zipfile.ZIP_LZMA, x=npy()), "not_a_table"),
    "npz_encrypted": fixed(patched(8, b"\x01\x00"), "not_a_table"),
    "npz_packed_past_the_end": fixed(patched(20, struct.pack("<LL", 1 << 30, 1 << 30)), "header_mismatch"),
    "npz_size_beyond_deflate": fixed(patched(24, struct.pack("<L", 1 << 31), zipfile.ZIP_DEFLATED), "header_mismatch"),
    "npz_offset_past_the_end": fixed(patched(42, struct.pack("<L", 1 << 30)), "not_a_table"),
    "npz_offset_into_another": fixed(patched(42, struct.pack("<L", 5)), "not_a_table"),
    "npz_empty": fixed(archive({}), "no_fields"),
    "npz_cut": fixed(saved(x=np.zeros(1000))[:4000], "not_a_table"),
    "npz_header_with_code": fixed(npz(x=npy("__import__('os').abort()")), "header_mismatch"),
    "npz_header_deep": fixed(npz(x=raw_npy(b"(" * 9000)), "header_mismatch"),
    "npz_header_of_signs": fixed(npz(x=raw_npy(b"-" * 9000 + b"1")), "header_mismatch"),
    "npz_header_of_digits": fixed(npz(x=raw_npy(b"9" * 9000)), "header_mismatch"),
    "npz_header_past_the_end": fixed(npz(x=b"\x93NUMPY\x01\x00\xff\xff{}"), "header_mismatch"),
    "npz_shape_that_lies": fixed(npz(x=npy(shape="(1000000000, 3)")), "header_mismatch"),
    "npz_shape_that_overflows": fixed(npz(x=npy(shape=f"(2, {2**62}, 8)")), "header_mismatch"),
    "npz_shape_below_zero": fixed(npz(x=npy(shape="(-2, -3)")), "header_mismatch"),
    "npz_shape_of_truth": fixed(npz(x=npy(shape="(True, 6)")), "header_mismatch"),
    "npz_shape_of_many_axes": fixed(npz(x=npy(shape="(" + "1, " * 40 + ")", data=bytes(4))), "header_mismatch"),
    "npz_no_rows": fixed(saved(x=np.zeros((0, 3))), "no_examples"),
    "npz_one_number": fixed(saved(x=np.zeros(())), "unequal_lengths"),
    "npz_unequal_lengths": fixed(saved(x=np.zeros((2, 3)), y=np.zeros(3)), "unequal_lengths"),
    "npz_complex": fixed(saved(x=np.zeros(3, np.complex64)), "unsupported_dtype"),
    "npz_record": fixed(saved(x=np.zeros(3, [("a", "<f4")])), "unsupported_dtype"),
    "npz_void": fixed(saved(x=np.zeros(3, "V8")), "unsupported_dtype"),
    "npz_dates": fixed(saved(x=np.zeros(3, "<M8[s]")), "unsupported_dtype"),
    "npz_long_double": fixed(npz(x=npy("'<f16'", "(2,)", bytes(32))), "unsupported_dtype"),
    "npz_wide_strings": fixed(npz(x=npy("'<U134217728'", "(0,)", b"")), "unsupported_dtype"),
}
SAFETENSORS: dict[str, TableAttack] = {
    "safetensors_overlapping": fixed(safetensors({"x": F32, "y": F32}), "header_mismatch"),
    "safetensors_partly_overlapping": fixed(
        safetensors({"x": F32, "y": {**F32, "data_offsets": [12, 36]}}, bytes(36)), "header_mismatch"
    ),
    "safetensors_with_a_hole": field("header_mismatch", bytes(28), data_offsets=[4, 28]),
    "safetensors_with_a_tail": field("header_mismatch", bytes(1000)),
    "safetensors_cut": field("header_mismatch", bytes(23)),
    "safetensors_offsets_reversed": field("header_mismatch", data_offsets=[24, 0]),
    "safetensors_offsets_below_zero": field("header_mismatch", data_offsets=[-24, 0]),
    "safetensors_offsets_of_truth": field("header_mismatch", data_offsets=[False, 24]),
    "safetensors_offsets_beyond_64_bits": field("header_mismatch", data_offsets=[0, 1 << 70]),
    "safetensors_shape_overflow": field("header_mismatch", shape=[2**40, 2**40]),
    "safetensors_shape_wraps_to_the_size": field("header_mismatch", shape=[6, 2**62 + 1]),
    "safetensors_no_rows": field("no_examples", b"", shape=[0, 6], data_offsets=[0, 0]),
    "safetensors_complex": field("unsupported_dtype", shape=[1, 3], dtype="C64"),
    "safetensors_float8": field("unsupported_dtype", dtype="F8_E4M3"),
    "safetensors_unknown_type": field("unsupported_dtype", dtype="__import__('os')"),
    "safetensors_unequal_lengths": fixed(
        safetensors({"x": F32, "y": {"dtype": "F32", "shape": [3], "data_offsets": [24, 36]}}, bytes(36)), "unequal_lengths"
    ),
    "safetensors_name_twice": fixed(safetensors(b'{"x": 1, "x": 2}'), "duplicate_field"),
    "safetensors_name_with_nul": fixed(safetensors({"x\0y": F32}), "bad_field_name"),
    "safetensors_name_surrogate": fixed(safetensors({"\ud800": F32}), "bad_field_name"),
    "safetensors_deep": fixed(safetensors(b'{"x": ' + b"[" * 100_000), "header_mismatch"),
    "safetensors_long_number": fixed(safetensors(b'{"x": ' + b"9" * 10_000 + b"}"), "header_mismatch"),
    "safetensors_not_a_number": fixed(
        safetensors(b'{"x": {"dtype": "F32", "shape": [NaN], "data_offsets": [0, 24]}}'), "header_mismatch"
    ),
    "safetensors_header_of_exabytes": fixed(struct.pack("<Q", 1 << 63) + b"{}", "header_mismatch"),
    "safetensors_header_past_the_end": fixed(struct.pack("<Q", 100) + b"{}", "header_mismatch"),
    "safetensors_header_of_100_megabytes": fixed(safetensors(b"{" + b" " * 99_000_000), "header_mismatch"),
    "safetensors_many_fields": fixed(
        safetensors(b"{" + b",".join(b'"%x":{}' % number for number in range(80_000)) + b"}"), "too_many_fields"
    ),
    "safetensors_no_fields": fixed(safetensors({}, b""), "no_fields"),
}
TABLES = PICKLES | NPZ | SAFETENSORS
