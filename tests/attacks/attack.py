"""One file of the corpus: how it is made, and with which code it is refused."""

import io
from collections.abc import Callable
from dataclasses import dataclass
from zipfile import ZipFile

from tests.engine.archive.forging import Entries


@dataclass(frozen=True)
class Attack:
    """`code` is None where what is dangerous is dropped and an honest program is left."""

    make: Callable[[Entries, str], bytes]
    """The bytes of the file, from the entries of an honest archive and the path of the marker that its code would write."""
    code: str | None


def packed(entries: Entries) -> bytes:
    """A zip with these entries below one root folder."""
    sink = io.BytesIO()
    with ZipFile(sink, "w") as file:
        for name, content in entries.items():
            file.writestr(f"model/{name}", content)
    return sink.getvalue()


def changing(forge: Callable[[Entries, str], None], code: str | None) -> Attack:
    """An archive whose entries are changed."""

    def make(entries: Entries, marker: str) -> bytes:
        forge(entries, marker)
        return packed(entries)

    return Attack(make, code)
