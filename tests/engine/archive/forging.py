"""Takes archives apart, changes them and writes them again, as an attacker would."""

import json
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from zipfile import ZIP_STORED, ZipFile

Entries = dict[str, bytes]


def entries_of(archive: Path) -> Entries:
    """The bytes of every entry, named without the root folder."""
    with ZipFile(archive) as file:
        return {name.split("/", 1)[1]: file.read(name) for name in file.namelist()}


def write(entries: Entries, target: Path, *, root: str = "model", compression: int = ZIP_STORED) -> Path:
    """A zip with these entries below one root folder."""
    with ZipFile(target, "w", compression) as file:
        for name, content in entries.items():
            file.writestr(f"{root}/{name}", content)
    return target


def table_of_contents(content: bytes | bytearray) -> int:
    """The offset, in bytes, of the table of contents of a zip without a comment."""
    return int(struct.unpack_from("<L", content, len(content) - 6)[0])


@contextmanager
def edited(entries: Entries, name: str = "models/model.json") -> Iterator[Any]:
    """The content of a JSON entry; changes to it are written back to `entries` at the end."""
    document = json.loads(entries[name])
    yield document
    entries[name] = json.dumps(document).encode()
