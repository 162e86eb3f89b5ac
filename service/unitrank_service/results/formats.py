"""The media types of a result: choosing one from the header `Accept`, and the rows of the CSV."""

import csv
import io
from collections.abc import Iterator
from contextlib import suppress
from itertools import count
from typing import BinaryIO
from zipfile import ZipFile, ZipInfo

from mimeparse import MimeTypeParseException, parse_media_range, quality_parsed

from unitrank_service.errors import HttpProblem
from unitrank_service.results.ranked_units import RankedRow, RankedUnits
from unitrank_service.results.summary import Json, Selection
from unitrank_store.results.array_file import ArrayFile
from unitrank_tables.formats.npz_writer import LARGE
from unitrank_tables.sizes import MiB

JSON = "application/json"
SAFETENSORS = "application/vnd.safetensors"
NPZ = "application/x-npz"
CSV = "text/csv"
OFFERED = (JSON, SAFETENSORS, NPZ, CSV)
CSV_COLUMNS = ("cluster", "ranking", "rank", "unit", "index", "importance", "spread")


def negotiated(accept: str | None) -> str:
    """Return the type of `OFFERED` that the header `Accept` prefers.

    Among types with equal preference the first is returned, so `*/*` gives JSON.
    Raises HttpProblem where the header accepts no offered type.
    """
    ranges = list(_media_ranges(accept or "*/*"))
    preferred = max(OFFERED, key=lambda offered: quality_parsed(offered, ranges))
    if not quality_parsed(preferred, ranges):
        detail = f"Accept {(accept or '')[:200]!r} names no available type; use {', '.join(OFFERED)}"
        raise HttpProblem("not_acceptable", detail)
    return preferred


def csv_rows(summary: Json, selection: Selection, arrays: ArrayFile) -> Iterator[bytes]:
    """Yield the CSV: first the header, then the units of each cluster and ranking.

    All units come where `selection.top` is None. An index is written as 6:1:6. Units with names,
    such as heads, have a further column `name`.
    `arrays` are closed at the end. The summary must have the selected names.
    """
    layer = summary["layer"]
    word = layer.get("unit_word")
    with arrays:
        yield ",".join([*CSV_COLUMNS, *(["name"] if word else [])]).encode() + b"\r\n"
        for name, row in selection.clusters(summary).items():
            for id in selection.rankings(summary):
                start, rank = _csv_text(_inert(name), id), 1
                for piece in RankedRow(arrays, id, row, layer["shape"]).pieces(selection.top or layer["count"]):
                    yield _csv_lines(start, rank, piece, word)
                    rank += len(piece.unit)


def _csv_text(*values: str) -> str:
    """The values as the first columns of a line of CSV."""
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(values)
    return text.getvalue()


def _csv_lines(start: str, rank: int, units: RankedUnits, word: str | None) -> bytes:
    """The lines of the units. `start`: the first columns. `rank`: rank of the first unit.

    `word`: the word before a unit's place in its name; None where units have no names.

    Numbers need no quotes. Formatting them here takes half of the time of `csv.writer`.
    """
    columns = zip(count(rank), units.unit, units.index, units.importance, units.spread, strict=False)
    lines = (
        f"{start},{rank},{unit},{':'.join(map(str, index))},"
        f"{'' if importance is None else importance},{'' if spread is None else spread}{_name(word, index)}\r\n"
        for rank, unit, index, importance, spread in columns
    )
    return "".join(lines).encode()


def _name(word: str | None, index: list[int]) -> str:
    """The column `name`. Its place is written as in the column `index`, without commas."""
    return f",{word} {':'.join(map(str, index))}" if word else ""


def npz_bytes(arrays: ArrayFile, file: BinaryIO) -> Iterator[bytes]:
    """Write the arrays into the empty file as `numpy.savez` does, and yield the file's bytes.

    Both files are closed at the end. The zip has the sizes in front of each member, which some
    readers need, so that it cannot be sent before it is written.
    """
    with arrays, file:
        with ZipFile(file, "w") as archive:
            for name, place in arrays.arrays.items():
                with archive.open(ZipInfo(f"{name}.npy"), "w", force_zip64=place.bytes >= LARGE) as member:
                    arrays.write_npy(name, member)
        file.seek(0)
        while chunk := file.read(MiB):
            yield chunk


def _inert(name: str) -> str:
    # A client chose the name. A leading quote keeps spreadsheets from running it as a formula.
    return "'" + name if name.startswith(("=", "+", "-", "@", "\t", "\r")) and not name.lstrip("-").isdigit() else name


def _media_ranges(accept: str) -> Iterator[tuple[str, str, dict[str, str]]]:
    """The ranges of an `Accept` header without those that are malformed."""
    for part in accept.lower().split(","):
        with suppress(MimeTypeParseException):
            yield parse_media_range(part)
