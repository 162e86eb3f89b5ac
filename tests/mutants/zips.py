"""What can go wrong in a zip's own records: sizes, places, flags and counts that lie."""

import io
import re
from random import Random
from zipfile import ZIP_BZIP2, ZIP_DEFLATED, ZIP_STORED, ZipFile, ZipInfo

from tests.mutants.raw import NUMBERS

# By signature, the place and the bytes of each number in the record.
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
    """One to three numbers in the records."""
    found = bytearray(content)
    places = [(match[0], match.start()) for match in _SIGNATURE.finditer(content)]
    for _ in range(random.randint(1, 3)):
        kinds = sorted({kind for kind, _ in places})
        kind = random.choice(kinds)
        start = random.choice([place for of, place in places if of == kind])
        offset, width = random.choice(_RECORDS[kind])
        field = slice(start + offset, start + offset + width)
        before = int.from_bytes(found[field], "little")
        value = random.choice([*NUMBERS, before + 1, before - 1, before ^ (1 << random.randrange(8 * width)), len(found)])
        found[field] = (value % (1 << 8 * width)).to_bytes(width, "little")
    return bytes(found)


def entries(random: Random, content: bytes) -> bytes:
    """A zip that is whole, whose entries are others: missing, doubled, renamed, packed, or with each other's contents."""
    held = contents(content)
    at, other = random.randrange(len(held)), random.randrange(len(held))
    name, inside = held[at]
    changes = {
        "missing": [],
        "doubled": [held[at], held[at]],
        "renamed": [(_renamed(random, name, held[other][0]), inside)],
        "exchanged": [(name, held[other][1])],
        "shorter": [(name, inside[: random.randint(0, len(inside))])],
        "longer": [(name, inside + random.randbytes(random.randint(1, 64)))],
        "same": [held[at]],
    }
    held[at : at + 1] = changes[random.choice(sorted(changes))]
    return zipped(held, random.choice([ZIP_STORED, ZIP_STORED, ZIP_STORED, ZIP_DEFLATED, ZIP_BZIP2]))


def contents(content: bytes) -> list[tuple[str, bytes]]:
    """The entries of a zip, by name."""
    with ZipFile(io.BytesIO(content)) as file:
        return [(name, file.read(name)) for name in file.namelist()]


def zipped(held: list[tuple[str, bytes]], compression: int = ZIP_STORED) -> bytes:
    """The entries as given, as of no time, with room for large sizes as numpy leaves it; names may come twice."""
    sink = io.BytesIO()
    with ZipFile(sink, "w") as file:
        for name, inside in held:
            # zipfile warns of a name that comes twice, which is the point here.
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
