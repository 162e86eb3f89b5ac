"""Mutators of zips: wrong sizes, offsets, flags and counts in the records, and changed entries."""

import io
import re
from random import Random
from zipfile import ZIP_BZIP2, ZIP_DEFLATED, ZIP_STORED, ZipFile, ZipInfo

from tests.mutants.raw import NUMBERS

# Signature of a record → offset and width, in bytes, of its numbers.
_RECORDS = {
    b"PK\x03\x04": [(4, 2), (6, 2), (8, 2), (14, 4), (18, 4), (22, 4), (26, 2), (28, 2)],
    b"PK\x01\x02": [
        (4, 2),
        (6, 2),
        (8, 2),
        (10, 2),
        (16, 4),
        (20, 4),
        (24, 4),
        (28, 2),
        (30, 2),
        (32, 2),
        (34, 2),
        (38, 4),
        (42, 4),
    ],
    b"PK\x05\x06": [(4, 2), (6, 2), (8, 2), (10, 2), (12, 4), (16, 4), (20, 2)],
    b"PK\x06\x06": [(4, 8), (12, 2), (14, 2), (16, 4), (20, 4), (24, 8), (32, 8), (40, 8), (48, 8)],
    b"PK\x06\x07": [(4, 4), (8, 8), (16, 4)],
}
_SIGNATURE = re.compile(rb"PK(\x03\x04|\x01\x02|\x05\x06|\x06\x06|\x06\x07)")


def records(random: Random, content: bytes) -> bytes:
    """Change one to three numbers in the records of the zip."""
    changed = bytearray(content)
    places = [(match[0], match.start()) for match in _SIGNATURE.finditer(content)]
    for _ in range(random.randint(1, 3)):
        kinds = sorted({kind for kind, _ in places})
        kind = random.choice(kinds)
        start = random.choice([place for signature, place in places if signature == kind])
        offset, width = random.choice(_RECORDS[kind])
        field = slice(start + offset, start + offset + width)
        before = int.from_bytes(changed[field], "little")
        value = random.choice([*NUMBERS, before + 1, before - 1, before ^ (1 << random.randrange(8 * width)), len(changed)])
        changed[field] = (value % (1 << 8 * width)).to_bytes(width, "little")
    return bytes(changed)


def entries(random: Random, content: bytes) -> bytes:
    """Change one entry of the zip, which stays valid.

    The entry is removed, repeated, renamed, shortened, extended or gets the content of another.
    """
    members = contents(content)
    at, other = random.randrange(len(members)), random.randrange(len(members))
    name, inside = members[at]
    changes = {
        "missing": [],
        "doubled": [members[at], members[at]],
        "renamed": [(_renamed(random, name, members[other][0]), inside)],
        "exchanged": [(name, members[other][1])],
        "shorter": [(name, inside[: random.randint(0, len(inside))])],
        "longer": [(name, inside + random.randbytes(random.randint(1, 64)))],
        "same": [members[at]],
    }
    members[at : at + 1] = changes[random.choice(sorted(changes))]
    return zipped(members, random.choice([ZIP_STORED, ZIP_STORED, ZIP_STORED, ZIP_DEFLATED, ZIP_BZIP2]))


def contents(content: bytes) -> list[tuple[str, bytes]]:
    """The name and the content of each entry of a zip."""
    with ZipFile(io.BytesIO(content)) as file:
        return [(name, file.read(name)) for name in file.namelist()]


def zipped(members: list[tuple[str, bytes]], compression: int = ZIP_STORED) -> bytes:
    """A zip of these entries with a fixed time; a name may occur twice.

    As in an npz of numpy, each entry has room for sizes of 64 bits.
    """
    sink = io.BytesIO()
    with ZipFile(sink, "w") as file:
        for name, inside in members:
            # zipfile warns of a repeated name, which some mutants need.
            file.NameToInfo.pop(name, None)
            info = ZipInfo(name)
            info.compress_type = compression
            with file.open(info, "w", force_zip64=True) as entry:
                entry.write(inside)
    return sink.getvalue()


def _renamed(random: Random, name: str, other: str) -> str:
    step, _, rest = name.rpartition("/")
    names = [
        other,
        rest,
        f"../{name}",
        f"/{name}",
        f"{name}/",
        f"{name}\0.so",
        f"{step}/{rest[:-1]}",
        f"{name}é",
        f"{step}//{rest}",
        "x" * 60_000,
    ]
    return random.choice(names)
