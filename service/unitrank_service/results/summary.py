"""Selects a part of a result's summary: one cluster, one ranking, and the number of units."""

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unitrank_schemas.checks import nearest
from unitrank_service.errors import HttpProblem
from unitrank_tables.top_units import top_units

# A summary is JSON that the worker wrote after `unitrank_schemas.results.Result`.
Json = dict[str, Any]
Arrays = Mapping[str, NDArray[Any]]


def narrowed(summary: Json, cluster: str | None, ranking: str | None, top: int | None, arrays: Callable[[], Arrays]) -> Json:
    """Return the part of a summary about one cluster and one ranking; None selects all of them.

    `top`: units per ranking; None for those that the summary has.
    `arrays`: returns the result's arrays; called only if the summary has fewer than `top` units.
    Raises HttpProblem for a name that is not in the summary.
    """
    clusters = named("cluster", cluster, [entry["name"] for entry in summary["clusters"]])
    rankings = named("ranking", ranking, [entry["id"] for entry in summary["rankings"]])
    loaded = arrays() if top is not None and _has_fewer(summary, top) else None
    row_of = {entry["name"]: row for row, entry in enumerate(summary["clusters"])}
    return summary | {
        "clusters": [entry for entry in summary["clusters"] if entry["name"] in clusters],
        "rankings": [
            entry | {"clusters": _clusters(entry, clusters, top, loaded, row_of, summary["layer"]["shape"])}
            for entry in summary["rankings"]
            if entry["id"] in rankings
        ],
        "leaderboard": [entry for entry in summary["leaderboard"] if entry["ranking"] in rankings],
        "warnings": [
            entry
            for entry in summary["warnings"]
            if entry.get("cluster") in {None, *clusters} and entry.get("ranking") in {None, *rankings}
        ],
    }


def named(kind: str, name: str | None, names: list[str]) -> list[str]:
    """Return a list of the name, or all names for None. Raises HttpProblem for an unknown name."""
    if name is None:
        return names
    if name not in names:
        raise HttpProblem(f"{kind}_not_found", f"{kind} {name[:100]!r} not found{nearest(name, names)}")
    return [name]


def stored_units(arrays: Arrays, ranking: str, row: int, shape: list[int], count: int) -> list[Json]:
    """Return the `count` most important units of a cluster, the most important first.

    `row`: the cluster's row in the arrays. `shape`: shape of the layer's units.
    Numbers that are not finite are None, because JSON has no word for them.
    """
    importance = arrays[f"importance/{ranking}"][row]
    spread = arrays[f"spread/{ranking}"][row] if f"spread/{ranking}" in arrays else np.full_like(importance, np.nan)
    return [
        {**unit, "importance": _finite(unit["importance"]), "spread": _finite(unit["spread"])}
        for unit in top_units(importance, spread, shape, count)
    ]


def _clusters(
    ranking: Json, names: Iterable[str], top: int | None, arrays: Arrays | None, row_of: Mapping[str, int], shape: list[int]
) -> Json:
    clusters: Json = {}
    for name in names:
        entry = ranking["clusters"][name]
        if top is not None:
            units = entry["top"][:top] if arrays is None else stored_units(arrays, ranking["id"], row_of[name], shape, top)
            entry = entry | {"top": units}
        clusters[name] = entry
    return clusters


def _has_fewer(summary: Json, top: int) -> bool:
    """Whether the summary has fewer than `top` units of a ranking although the layer has more."""
    sizes = [len(entry["top"]) for ranking in summary["rankings"] for entry in ranking["clusters"].values()]
    count: int = summary["layer"]["count"]
    return min(sizes, default=top) < min(top, count)


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
