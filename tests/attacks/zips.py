"""Attacks on the reader of the zip: paths out of the archive, wrong sizes, and huge contents."""

import io
import stat
import struct
import warnings
import zlib
from collections.abc import Callable
from zipfile import ZIP_BZIP2, ZIP_DEFLATED, ZIP_LZMA, ZipFile, ZipInfo

from tests.attacks.attack import Attack, packed
from tests.engine.archive.forging import Entries, table_of_contents

MILLION = 1_000_000
PROGRAM = "models/model.json"


def with_name(name: str, content: bytes = b"x", mode: int = 0) -> Attack:
    """A valid archive with one more entry of exactly this name."""

    def make(entries: Entries, marker: str) -> bytes:
        sink = io.BytesIO(packed(entries))
        with warnings.catch_warnings(), ZipFile(sink, "a") as file:
            warnings.simplefilter("ignore")
            info = ZipInfo("placeholder")
            info.filename = name.replace("MARKER", marker)
            info.external_attr = mode << 16
            file.writestr(info, content)
        return sink.getvalue()

    return Attack(make, "archive_entry_refused")


def compressed(packing: int) -> Attack:
    """An archive with a compressed entry: a megabyte of zeros."""

    def make(entries: Entries, _: str) -> bytes:
        sink = io.BytesIO()
        with ZipFile(sink, "w", packing) as file:
            for name, content in (entries | {"extra/bomb": bytes(1 << 20)}).items():
                file.writestr(f"model/{name}", content)
        return sink.getvalue()

    return Attack(make, "archive_entry_refused")


def lying(offset: int, layout: str, *values: int, code: str = "archive_entry_refused") -> Attack:
    """A valid archive with changed fields in the first entry of its table of contents."""

    def make(entries: Entries, _: str) -> bytes:
        content = bytearray(packed(entries))
        struct.pack_into(layout, content, table_of_contents(content) + offset, *values)
        return bytes(content)

    return Attack(make, code)


def local_header(offset: int, value: bytes) -> Attack:
    """An archive whose local header differs from its table of contents."""

    def make(entries: Entries, _: str) -> bytes:
        content = bytearray(packed(entries))
        content[offset : offset + len(value)] = value
        return bytes(content)

    return Attack(make, "not_an_archive")


def overlapping(entries: Entries, _: str) -> bytes:
    """Many entries that share the same megabyte: each size is right, but their sum is huge."""
    content = packed(entries | {"extra/0": bytes(1 << 20)})
    directory, end = table_of_contents(content), len(content) - 22
    at = content.rindex(b"PK\x01\x02", directory, end)
    entry = content[at:end]
    added = b"".join(entry.replace(b"extra/0", b"extra/%c" % letter) for letter in range(0x21, 0x7F) if letter not in b"/\\:0")
    return _with_directory(content[:directory], content[directory:end] + added)


def million_entries(entries: Entries, _: str) -> bytes:
    content = packed(entries)
    start = table_of_contents(content)
    entry = content[start : content.index(b"PK\x01\x02", start + 4)]
    return _with_directory(content[:start], entry * MILLION)


def many_entries(entries: Entries, _: str) -> bytes:
    """20,001 entries: fewer than a million, but more than any model has."""
    return packed(entries | {f"extra/{number}": b"" for number in range(20_001)})


def endless_directory(entries: Entries, _: str) -> bytes:
    """The zip claims that its whole file is the table of contents; a sparse file can have
    gigabytes.
    """
    content = packed(entries | {"extra/0": bytes(5 << 20)})
    return content[:-22] + struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 1, 1, len(content) - 22, 0, 0)


def zip64(directory_size: int, offset: int) -> Attack:
    """An archive whose zip64 record claims this size and this offset of the table of contents."""

    def make(entries: Entries, _: str) -> bytes:
        content = packed(entries)[:-22]
        end = struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, 1, 1, directory_size, offset)
        locator = struct.pack("<4sLQL", b"PK\x06\x07", 0, len(content), 1)
        return content + end + locator + struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)

    return Attack(make, "not_an_archive")


def nested(entries: Entries, _: str) -> bytes:
    """The description of the program is a zip itself."""
    return packed(entries | {PROGRAM: packed(entries)})


def quine_like(entries: Entries, _: str) -> bytes:
    """A second archive follows the first: the file has two tables of contents."""
    content = packed(entries)
    return content + packed(entries | {PROGRAM: b"{}"})


def gzipped(entries: Entries, _: str) -> bytes:
    return zlib.compress(packed(entries), wbits=31)


def _with_directory(body: bytes, directory: bytes) -> bytes:
    number = min(directory.count(b"PK\x01\x02"), 0xFFFF)
    return body + directory + struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, number, number, len(directory), len(body), 0)


def without(name: str) -> Attack:
    return Attack(lambda entries, _: packed({each: content for each, content in entries.items() if each != name}), "not_an_archive")


def replaced(name: str, content: bytes, code: str) -> Attack:
    return Attack(lambda entries, _: packed(entries | {name: content}), code)


def cut(share: float) -> Attack:
    def make(entries: Entries, _: str) -> bytes:
        content = packed(entries)
        return content[: int(len(content) * share)]

    return Attack(make, "not_an_archive")


def renamed(root: Callable[[str], str]) -> Attack:
    def make(entries: Entries, _: str) -> bytes:
        sink = io.BytesIO()
        with ZipFile(sink, "w") as file:
            for name, content in entries.items():
                file.writestr(root(name), content)
        return sink.getvalue()

    return Attack(make, "archive_entry_refused")


ZIPS: dict[str, Attack] = {
    "name_up": with_name("model/../../evil"),
    "name_up_at_the_root": with_name("../evil"),
    "name_absolute": with_name("/MARKER"),
    "name_of_a_drive": with_name("C:/evil"),
    "name_with_backslashes": with_name("model\\..\\..\\evil"),
    "name_with_nul": with_name(f"model/{PROGRAM}\x00.txt"),
    "name_with_escapes": with_name("model/extra/\x1b]0;evil\x07"),
    "name_that_reads_backwards": with_name("model/extra/\u202egpj.exe"),
    "name_without_a_folder": with_name("evil"),
    "name_of_a_folder": with_name("model/extra/", b""),
    "name_too_long": with_name("model/extra/" + "a" * 5000),
    "name_twice": with_name(f"model/{PROGRAM}", b"{}"),
    "second_root": with_name("other/extra/evil"),
    "deep_root": renamed(lambda name: f"a/b/{name}"),
    "no_root": renamed(lambda name: name),
    "symbolic_link": with_name("model/extra/link", b"/etc/passwd", stat.S_IFLNK | 0o777),
    "symbolic_link_for_weights": with_name("model/data/weights/weight_900", b"/etc/passwd", stat.S_IFLNK | 0o777),
    "device": with_name("model/extra/device", b"", stat.S_IFBLK | 0o666),
    "pipe": with_name("model/extra/pipe", b"", stat.S_IFIFO | 0o666),
    "deflated": compressed(ZIP_DEFLATED),
    "bzipped": compressed(ZIP_BZIP2),
    "lzma": compressed(ZIP_LZMA),
    "unknown_packing": lying(10, "<H", 99),
    "encrypted": lying(8, "<H", 1),
    "strongly_encrypted": lying(8, "<H", 0x41),
    "size_too_large": lying(20, "<LL", 1 << 30, 1 << 30),
    "sizes_that_differ": lying(24, "<L", 1 << 30),
    "offset_past_the_end": lying(42, "<L", 1 << 30, code="not_an_archive"),
    "offset_into_another": lying(42, "<L", 7, code="not_an_archive"),
    "checksum_that_lies": lying(16, "<L", 1, code="not_an_archive"),
    "needs_a_later_zip": lying(6, "<H", 99, code="not_an_archive"),
    "local_name_that_differs": local_header(30, b"MODEL"),
    "local_header_broken": local_header(0, b"XX"),
    "overlapping": Attack(overlapping, "archive_entry_refused"),
    "million_entries": Attack(million_entries, "archive_too_large"),
    "many_entries": Attack(many_entries, "archive_too_large"),
    "endless_directory": Attack(endless_directory, "archive_too_large"),
    "zip64_directory_of_exabytes": zip64((1 << 63) - 1, 0),
    "zip64_offset_of_exabytes": zip64(46, (1 << 63) - 1),
    "nested": Attack(nested, "program_refused"),
    "archive_behind_an_archive": Attack(quine_like, "program_refused"),
    "gzipped": Attack(gzipped, "not_an_archive"),
    "cut_in_the_middle": cut(0.5),
    "cut_at_the_end": cut(0.99),
    "no_program": without(PROGRAM),
    "no_weights": without("data/weights/model_weights_config.json"),
    "no_format": without("archive_format"),
    "another_format": replaced("archive_format", b"onnx", "not_an_archive"),
    "big_endian": replaced("byteorder", b"big", "not_an_archive"),
    "library": replaced("data/aotinductor/model/x.so", b"\x7fELF", "archive_entry_refused"),
    "library_elsewhere": replaced("data/weights/weight_0.so", b"\x7fELF", "archive_entry_refused"),
    "script_object": replaced("data/constants/custom_obj_0", b"PK", "pickle_refused"),
    "second_program": replaced("models/other.json", b"{}", "archive_entry_refused"),
    "torchscript": replaced("code/__torch__.py", b"import os", "not_an_archive"),
    "unknown_entry": replaced("data/weights/readme", b"x", "archive_entry_refused"),
}
