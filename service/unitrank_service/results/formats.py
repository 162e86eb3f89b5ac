"""The media types of a result: choosing one from the header `Accept`, and the rows of the CSV."""

import csv
import io
from collections.abc import Iterator
from contextlib import suppress
from itertools import count
from typing import BinaryIO
from zipfile import ZipFile, ZipInfo

from mimeparse import MimeTypeParseException, parse_media_range, quality_parsed

from unitrank_schemas.layer_arrays import names_of_layer
from unitrank_schemas.results import RankedLayer, name_of_unit
from unitrank_service.errors import HttpProblem
from unitrank_service.results.layers.layer_parts import LAYERS
from unitrank_service.results.outline import parts_in
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
    such as heads, have a further column `name`. A layered result has a first column `layer`.
    The summary must have the selected names.
    """
    parts, clusters = parts_in(summary), selection.clusters(summary)
    is_layered, has_names = LAYERS in summary, any(_has_names(part["layer"]) for part in parts.values())
    yield ",".join([*(["layer"] if is_layered else []), *CSV_COLUMNS, *(["name"] if has_names else [])]).encode() + b"\r\n"
    for layer, part in parts.items():
        of_layer = arrays.select(names_of_layer(layer, list(parts), arrays.arrays)) if is_layered else arrays
        subject = RankedLayer.model_validate(part["layer"], extra="ignore")
        for name, row in clusters.items():
            for id in selection.rankings_of_part(part):
                start, rank = _csv_text(*([_inert(layer)] if is_layered else []), _inert(name), id), 1
                for piece in RankedRow(of_layer, id, row, subject.shape).pieces(selection.top or subject.count):
                    yield _csv_lines(start, rank, piece, subject, has_names=has_names)
                    rank += len(piece.unit)


def _has_names(layer: Json) -> bool:
    """Whether a unit's number does not name it."""
    return bool(layer.get("unit_word") or layer.get("parts"))


def _csv_text(*values: str) -> str:
    """The values as the first columns of a line of CSV."""
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(values)
    return text.getvalue()


def _csv_lines(start: str, rank: int, units: RankedUnits, layer: RankedLayer, *, has_names: bool) -> bytes:
    """The lines of the units. `start`: the first columns. `rank`: rank of the first unit.

    `has_names`: whether a last column has the names of the units.

    Numbers need no quotes. Formatting them here takes half of the time of `csv.writer`.
    """
    columns = zip(count(rank), units.unit, units.index, units.importance, units.spread, strict=False)
    lines = (
        f"{start},{rank},{unit},{':'.join(map(str, index))},"
        f"{'' if importance is None else importance},{'' if spread is None else spread}"
        f"{_name(layer, unit) if has_names else ''}\r\n"
        for rank, unit, index, importance, spread in columns
    )
    return "".join(lines).encode()


def _name(layer: RankedLayer, unit: int) -> str:
    """The column `name`. Its place is written as in the column `index`, without commas."""
    return "," + _csv_text(name_of_unit(layer, unit).replace(",", ":"))


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
