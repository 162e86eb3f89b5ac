"""Selects a part of a result's summary: one cluster, one ranking, and the number of units."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

from unitrank_schemas.checks import nearest
from unitrank_service.errors import HttpProblem
from unitrank_service.http.responses import encoded
from unitrank_service.results.json_pieces import JsonPieces
from unitrank_service.results.layers.layer_parts import LONG_LISTS
from unitrank_service.results.outline import Outline, parts_in
from unitrank_service.results.ranked_units import RankedRow
from unitrank_store.results.array_file import ArrayFile

# A summary is JSON that the worker wrote after `unitrank_schemas.results.Result`.
Json = dict[str, Any]

UNIT_COLUMNS = ("unit", "index", "importance", "spread")


PIECE = 256
"""Entries of a list that are encoded at a time."""


@dataclass(frozen=True)
class Selection:
    """The part of a result that a request selects.

    `cluster`, `ranking`: a name, or None for all.
    `top`: units per ranking, or None for those of the summary.
    `layer`: a layer or `joint`, or None for all.
    """

    cluster: str | None = None
    ranking: str | None = None
    top: int | None = None
    layer: str | None = None

    @property
    def narrows(self) -> bool:
        """Whether a part of a layer's result is selected."""
        return (self.cluster, self.ranking, self.top) != (None, None, None)

    def check(self, summary: Json) -> None:
        """Raises HttpProblem for a name that the summary does not have."""
        self.clusters(summary)
        self.rankings(summary)

    def clusters(self, summary: Json) -> dict[str, int]:
        """Return the names of the selected clusters, with their rows in the arrays.

        Raises HttpProblem for an unknown name.
        """
        rows = {entry["name"]: row for row, entry in enumerate(summary["clusters"])}
        return {name: rows[name] for name in _named("cluster", self.cluster, list(rows))}

    def rankings(self, summary: Json) -> list[str]:
        """Return the ids of the selected rankings. Raises HttpProblem for an unknown id.

        A ranking of a layered summary exists if one of its parts has it.
        """
        ids = dict.fromkeys(entry["id"] for part in parts_in(summary).values() for entry in part["rankings"])
        return _named("ranking", self.ranking, list(ids))

    def rankings_of_part(self, part: Json) -> list[str]:
        """Return the ids of the selected rankings that a part has."""
        return [entry["id"] for entry in part["rankings"] if self.ranking in (None, entry["id"])]

    def needs_arrays(self, outline: Outline) -> bool:
        """Whether a ranking has fewer than `top` units in the summary, and more in the arrays."""
        return self.top is not None and outline.shortest < min(self.top, outline.summary["layer"]["count"])


def narrowed(
    outline: Outline, file: BinaryIO, selection: Selection, arrays: ArrayFile | None, without: Collection[str] = ()
) -> Iterator[bytes]:
    """Yield the selected part of a summary as JSON: one cluster of one ranking after the other.

    `file`: the summary. `arrays`: the arrays if `selection.needs_arrays`.
    `without`: members that are left out. `Selection.check` finds names that are unknown.
    """
    summary = outline.summary
    clusters, rankings = selection.clusters(summary), set(selection.rankings_of_part(summary))
    yield from _about(summary, set(clusters), rankings, without)
    number = 0
    for ranking in _clusters_of(JsonPieces(file), summary["rankings"]):
        if ranking.about["id"] not in rankings:
            ranking.skip()
            continue
        yield b"," * (number > 0) + _opened(_of_clusters(ranking.about, clusters), "clusters", b"{")
        number, position = number + 1, 0
        for name, entry in ranking.entries:
            if name in clusters:
                row, shape = clusters[name], summary["layer"]["shape"]
                units = RankedRow(arrays, ranking.about["id"], row, shape) if arrays is not None else None
                yield b"," * (position > 0) + encoded(name) + b":"
                yield from _cluster(entry, selection.top, units)
                position += 1
        yield b"}}"
    yield b"]}"


@dataclass(frozen=True)
class StoredRanking:
    """One ranking of a summary. `about`: its values. `entries`: name and entry of each cluster."""

    about: Json
    entries: Iterator[tuple[str, Json]]

    def skip(self) -> None:
        """Read the entries and forget them."""
        for _ in self.entries:
            pass


def _clusters_of(pieces: JsonPieces, abouts: list[Json]) -> Iterator[StoredRanking]:
    """Yield each ranking of the summary; read its entries before the next one."""
    for key in pieces.members():
        if key in LONG_LISTS:
            for _ in pieces.elements():
                pieces.value()
        elif key != "rankings":
            pieces.value()
        else:
            rankings = iter(abouts)
            for _ in pieces.elements():
                about = next(rankings)
                for name in pieces.members():
                    if name == "clusters":
                        yield StoredRanking(about, ((cluster, pieces.value()) for cluster in pieces.members()))
                    else:
                        pieces.value()


def _about(summary: Json, clusters: set[str], rankings: set[str], without: Collection[str]) -> Iterator[bytes]:
    """Yield the summary up to its rankings, with the entries that are about the selected names."""
    lists = {
        "clusters": [entry for entry in summary["clusters"] if entry["name"] in clusters],
        "leaderboard": [entry for entry in summary["leaderboard"] if entry["ranking"] in rankings],
        "warnings": warnings_about(summary["warnings"], clusters, rankings),
    }
    # Results of older versions do not have these lists.
    lists |= {name: _about_rankings(summary[name], rankings) for name in ("comparisons", "agreement", "given") if name in summary}
    yield encoded({name: value for name, value in summary.items() if name not in {"rankings", *lists, *without}})[:-1]
    for name, entries in lists.items():
        if name not in without:
            yield b"," + encoded(name) + b":"
            yield from list_in_pieces(entries)
    yield b',"rankings":['


def warnings_about(warnings: Sequence[Json], clusters: Collection[str], rankings: Collection[str]) -> list[Json]:
    """Return the warnings about the selected names, and those about the whole job."""
    return [each for each in warnings if _within(each.get("cluster"), clusters) and _within(each.get("ranking"), rankings)]


def list_in_pieces(entries: Sequence[Json]) -> Iterator[bytes]:
    """Yield a list as JSON, some entries at a time."""
    yield b"["
    for start in range(0, len(entries), PIECE):
        yield b"," * (start > 0) + encoded(entries[start : start + PIECE])[1:-1]
    yield b"]"


def _about_rankings(entries: list[Json], rankings: set[str]) -> list[Json]:
    """The entries about one ranking or two, at least one of which is selected."""
    return [entry for entry in entries if {entry.get("ranking"), entry.get("a"), entry.get("b")} & rankings]


def _of_clusters(about: Json, clusters: dict[str, int]) -> Json:
    """The values of a ranking, with the rows and columns of its specificity of these clusters."""
    specificity = about.get("specificity")
    if not specificity:
        return about
    matrix = [[specificity["matrix"][row][column] for column in clusters.values()] for row in clusters.values()]
    by_cluster = {
        key: {name: value for name, value in values.items() if name in clusters}
        for key, values in specificity.items()
        if isinstance(values, dict)
    }
    return about | {"specificity": specificity | by_cluster | {"matrix": matrix}}


def _within(name: str | None, names: Collection[str]) -> bool:
    return name is None or name in names


def _cluster(entry: Json, top: int | None, units: RankedRow | None) -> Iterator[bytes]:
    """The entry of one cluster as JSON, with its `top` first units.

    `units`: None takes the units of the entry.
    """
    if top is None or units is None:
        yield encoded(entry | {"top": entry["top"][:top]})
        return
    yield _opened(entry, "top", b"[")
    # The arrays have neither the intervals nor `in_top`, which the summary's units have.
    only_here = {each["unit"]: {name: each[name] for name in each if name not in UNIT_COLUMNS} for each in entry["top"]}
    for number, piece in enumerate(units.pieces(top)):
        columns = zip(piece.unit, piece.index, piece.importance, piece.spread, strict=True)
        rows = [dict(zip(UNIT_COLUMNS, values, strict=True)) for values in columns]
        yield b"," * (number > 0) + encoded([row | only_here.get(row["unit"], {}) for row in rows])[1:-1]
    yield b"]}"


def _opened(content: Json, last: str, bracket: bytes) -> bytes:
    """The content as JSON up to the value of its key `last`, which begins with `bracket`."""
    others = encoded({name: value for name, value in content.items() if name != last})[1:-1]
    return b"{" + others + b"," * bool(others) + encoded(last) + b":" + bracket


def _named(kind: str, name: str | None, names: list[str]) -> list[str]:
    """A list of the name, or all names for None. Raises HttpProblem for an unknown name."""
    if name is None:
        return names
    if name not in names:
        raise HttpProblem(f"{kind}_not_found", f"{kind} {name[:100]!r} not found{nearest(name, names)}")
    return [name]
