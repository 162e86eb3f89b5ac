"""The media types of a result: which one a client wants, and the bytes of each."""

import csv
import io
import zipfile
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from unitrank_service.errors import HttpProblem
from unitrank_service.results.summary import Arrays, Json, named, top_units

JSON = "application/json"
SAFETENSORS = "application/vnd.safetensors"
NPZ = "application/x-npz"
CSV = "text/csv"
OFFERED = (JSON, SAFETENSORS, NPZ, CSV)
CSV_COLUMNS = ("cluster", "ranking", "rank", "unit", "index", "importance", "spread")


def negotiated(accept: str | None) -> str:
    """The offered type that the header prefers, JSON where it does not care. Raises HttpProblem where it wants none of them."""
    best, best_quality = "", 0.0
    for offered in OFFERED:
        quality = _quality(offered, accept or "*/*")
        if quality > best_quality:
            best, best_quality = offered, quality
    if not best:
        raise HttpProblem("not_acceptable", f"a result comes as {', '.join(OFFERED)}; asked for was {(accept or '')[:200]!r}")
    return best


def write_npz(file: BinaryIO, arrays: Mapping[str, NDArray[Any]]) -> None:
    """What numpy.savez writes; that one stumbles over names that are its own arguments."""
    with zipfile.ZipFile(file, "w") as archive:
        for name, array in arrays.items():
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.ascontiguousarray(array), allow_pickle=False)


def csv_rows(summary: Json, arrays: Arrays, cluster: str | None, ranking: str | None, top: int | None) -> Iterator[bytes]:
    """The table a cluster and ranking at a time; an index is written as 6:1:6. Raises HttpProblem for unknown names, at once."""
    clusters = named("cluster", cluster, [entry["name"] for entry in summary["clusters"]])
    rankings = named("ranking", ranking, [entry["id"] for entry in summary["rankings"]])
    return _rows(summary, arrays, clusters, rankings, top or summary["layer"]["count"])


def _rows(summary: Json, arrays: Arrays, clusters: list[str], rankings: list[str], top: int) -> Iterator[bytes]:
    numbers = {entry["name"]: number for number, entry in enumerate(summary["clusters"])}
    yield _csv([CSV_COLUMNS])
    for name in clusters:
        for id in rankings:
            units = top_units(arrays, id, numbers[name], summary["layer"]["shape"], top)
            yield _csv(
                (_inert(name), id, rank, unit["unit"], ":".join(map(str, unit["index"])), unit["importance"], unit["spread"])
                for rank, unit in enumerate(units, 1)
            )


def _csv(rows: Any) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue().encode()


def _inert(name: str) -> str:
    # A name that a client chose is text in a spreadsheet too, and no formula.
    return "'" + name if name.startswith(("=", "+", "-", "@", "\t", "\r")) and not name.lstrip("-").isdigit() else name


def _quality(offered: str, accept: str) -> float:
    """The q of the most specific range that covers the type; 0 where none does."""
    found: dict[int, float] = {}
    for part in accept.lower().split(","):
        kind, *parameters = (word.strip() for word in part.split(";"))
        precision = {offered: 2, offered.partition("/")[0] + "/*": 1, "*/*": 0}.get(kind)
        if precision is not None:
            found[precision] = next((_number(word[2:]) for word in parameters if word.startswith("q=")), 1.0)
    return found[max(found)] if found else 0.0


def _number(text: str) -> float:
    try:
        return min(max(float(text), 0.0), 1.0)
    except ValueError:
        return 0.0
