"""One hostile archive of the corpus: the function that makes it, and the code of its refusal."""

import io
from collections.abc import Callable
from dataclasses import dataclass
from zipfile import ZipFile

from tests.engine.archive.forging import Entries


@dataclass(frozen=True)
class Attack:
    """A hostile archive.

    `code`: the code of the refusal. None: the archive is accepted, but its dangerous part is
    dropped.
    """

    make: Callable[[Entries, str], bytes]
    """Makes the bytes from the entries of a valid archive and the path of a marker.

    Hostile code in the file would write the marker.
    """
    code: str | None


def packed(entries: Entries) -> bytes:
    """A zip with these entries below one root folder."""
    sink = io.BytesIO()
    with ZipFile(sink, "w") as file:
        for name, content in entries.items():
            file.writestr(f"model/{name}", content)
    return sink.getvalue()


def changing(forge: Callable[[Entries, str], None], code: str | None) -> Attack:
    """An archive whose entries `forge` changes."""

    def make(entries: Entries, marker: str) -> bytes:
        forge(entries, marker)
        return packed(entries)

    return Attack(make, code)
