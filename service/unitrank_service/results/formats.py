"""The media types of a result: choosing one from the header `Accept`, and the rows of the CSV."""

import csv
import io
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from mimeparse import MimeTypeParseException, parse_media_range, quality_parsed

from unitrank_service.errors import HttpProblem
from unitrank_service.results.summary import Arrays, Json, named, stored_units

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


def csv_rows(summary: Json, arrays: Arrays, cluster: str | None, ranking: str | None, top: int | None) -> Iterator[bytes]:
    """Yield the CSV: first the header, then the units of each cluster and ranking.

    `top`: maximum number of units per ranking; None for all units. An index is written as 6:1:6.
    Raises HttpProblem for unknown names before the first row.
    """
    clusters = named("cluster", cluster, [entry["name"] for entry in summary["clusters"]])
    rankings = named("ranking", ranking, [entry["id"] for entry in summary["rankings"]])
    return _rows(summary, arrays, clusters, rankings, top or summary["layer"]["count"])


def _rows(summary: Json, arrays: Arrays, clusters: list[str], rankings: list[str], top: int) -> Iterator[bytes]:
    numbers = {entry["name"]: number for number, entry in enumerate(summary["clusters"])}
    yield _csv([CSV_COLUMNS])
    for name in clusters:
        for id in rankings:
            units = stored_units(arrays, id, numbers[name], summary["layer"]["shape"], top)
            yield _csv(
                (_inert(name), id, rank, unit["unit"], ":".join(map(str, unit["index"])), unit["importance"], unit["spread"])
                for rank, unit in enumerate(units, 1)
            )


def _csv(rows: Any) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue().encode()


def _inert(name: str) -> str:
    # A client chose the name. A leading quote keeps spreadsheets from running it as a formula.
    return "'" + name if name.startswith(("=", "+", "-", "@", "\t", "\r")) and not name.lstrip("-").isdigit() else name


def _media_ranges(accept: str) -> Iterator[tuple[str, str, dict[str, str]]]:
    """The ranges of an `Accept` header without those that are malformed."""
    for part in accept.lower().split(","):
        with suppress(MimeTypeParseException):
            yield parse_media_range(part)
