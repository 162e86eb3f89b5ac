"""Selects a part of a result's summary: one cluster, one ranking, and the number of units."""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from unitrank_schemas.checks import nearest
from unitrank_service.errors import HttpProblem
from unitrank_service.http.responses import encoded
from unitrank_service.results.ranked_units import RankedRow
from unitrank_store.results.array_file import ArrayFile

# A summary is JSON that the worker wrote after `unitrank_schemas.results.Result`.
Json = dict[str, Any]

UNIT_COLUMNS = ("unit", "index", "importance", "spread")


@dataclass(frozen=True)
class Selection:
    """The part of a result that a request selects.

    `cluster`, `ranking`: a name, or None for all.
    `top`: units per ranking, or None for those of the summary.
    """

    cluster: str | None = None
    ranking: str | None = None
    top: int | None = None

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
        """Return the ids of the selected rankings. Raises HttpProblem for an unknown id."""
        return _named("ranking", self.ranking, [entry["id"] for entry in summary["rankings"]])

    def needs_arrays(self, summary: Json) -> bool:
        """Whether the layer has more units, up to `top`, than a ranking in the summary."""
        if self.top is None:
            return False
        sizes = [len(entry["top"]) for ranking in summary["rankings"] for entry in ranking["clusters"].values()]
        count: int = summary["layer"]["count"]
        return min(sizes, default=self.top) < min(self.top, count)


def narrowed(summary: Json, selection: Selection, arrays: ArrayFile | None) -> Iterator[bytes]:
    """Yield the selected part of a summary as JSON: one cluster of one ranking after the other.

    `arrays`: the arrays if `selection.needs_arrays`; they are closed at the end.
    The summary must have the selected names, see `Selection.check`.
    """
    clusters, rankings = selection.clusters(summary), selection.rankings(summary)
    with ExitStack() as stack:
        if arrays is not None:
            stack.enter_context(arrays)
        yield _opened(_about(summary, clusters, rankings), "rankings", b"[")
        for number, ranking in enumerate(entry for entry in summary["rankings"] if entry["id"] in rankings):
            yield b"," * (number > 0) + _opened(ranking, "clusters", b"{")
            for position, (name, row) in enumerate(clusters.items()):
                units = RankedRow(arrays, ranking["id"], row, summary["layer"]["shape"]) if arrays is not None else None
                yield b"," * (position > 0) + encoded(name) + b":"
                yield from _cluster(ranking["clusters"][name], selection.top, units)
            yield b"}}"
        yield b"]}"


def _about(summary: Json, clusters: Iterable[str], rankings: Iterable[str]) -> Json:
    """The summary with those entries that are about the clusters and the rankings."""
    return summary | {
        "clusters": [entry for entry in summary["clusters"] if entry["name"] in clusters],
        "leaderboard": [entry for entry in summary["leaderboard"] if entry["ranking"] in rankings],
        "warnings": [
            entry
            for entry in summary["warnings"]
            if entry.get("cluster") in {None, *clusters} and entry.get("ranking") in {None, *rankings}
        ],
    }


def _cluster(entry: Json, top: int | None, units: RankedRow | None) -> Iterator[bytes]:
    """The entry of one cluster as JSON, with its `top` first units.

    `units`: None takes the units of the entry.
    """
    if top is None or units is None:
        yield encoded(entry | {"top": entry["top"][:top]})
        return
    yield _opened(entry, "top", b"[")
    for number, piece in enumerate(units.pieces(top)):
        columns = zip(piece.unit, piece.index, piece.importance, piece.spread, strict=True)
        yield b"," * (number > 0) + encoded([dict(zip(UNIT_COLUMNS, values, strict=True)) for values in columns])[1:-1]
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
