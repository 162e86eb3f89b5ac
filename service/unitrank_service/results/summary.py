"""The summary of a result, narrowed to what was asked for, with as many units as were asked for."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unitrank_schemas.checks import nearest
from unitrank_service.errors import HttpProblem

# A summary is JSON that the worker wrote after `unitrank_schemas.results.Result`.
Json = dict[str, Any]
Arrays = Mapping[str, NDArray[Any]]


def narrowed(summary: Json, cluster: str | None, ranking: str | None, top: int | None, arrays: Callable[[], Arrays]) -> Json:
    """The part of a summary about one cluster, one ranking, and the first `top` units of each.

    `arrays` is called where more units are asked for than the summary holds. Raises HttpProblem for names that are not in it.
    """
    clusters = named("cluster", cluster, [entry["name"] for entry in summary["clusters"]])
    rankings = named("ranking", ranking, [entry["id"] for entry in summary["rankings"]])
    fresh = arrays() if top is not None and _holds_fewer(summary, top) else None
    numbers = {entry["name"]: row for row, entry in enumerate(summary["clusters"])}
    return summary | {
        "clusters": [entry for entry in summary["clusters"] if entry["name"] in clusters],
        "rankings": [
            entry | {"clusters": _clusters(entry, clusters, top, fresh, numbers, summary["layer"]["shape"])}
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
    """The name alone, or all names for None. Raises HttpProblem where the name is not among `names`."""
    if name is None:
        return names
    if name not in names:
        raise HttpProblem(f"{kind}_not_found", f"{kind} {name[:100]!r} not found{nearest(name, names)}")
    return [name]


def top_units(arrays: Arrays, ranking: str, row: int, shape: list[int], count: int) -> list[Json]:
    """The units of highest importance first, in one row (a cluster) of the arrays; equal ones by their number."""
    importance = arrays[f"importance/{ranking}"][row]
    spread = arrays[f"spread/{ranking}"][row] if f"spread/{ranking}" in arrays else np.full_like(importance, np.nan)
    order = np.argsort(-importance, kind="stable")[:count]
    indices = np.stack(np.unravel_index(order, tuple(shape)), axis=1).tolist() if shape else [[]] * len(order)
    return [
        {"unit": int(unit), "index": index, "importance": _finite(importance[unit]), "spread": _finite(spread[unit])}
        for unit, index in zip(order, indices, strict=True)
    ]


def _clusters(
    ranking: Json, names: Iterable[str], top: int | None, arrays: Arrays | None, numbers: Mapping[str, int], shape: list[int]
) -> Json:
    clusters: Json = {}
    for name in names:
        entry = ranking["clusters"][name]
        if top is not None:
            fresh = None if arrays is None else top_units(arrays, ranking["id"], numbers[name], shape, top)
            entry = entry | {"top": entry["top"][:top] if fresh is None else fresh}
        clusters[name] = entry
    return clusters


def _holds_fewer(summary: Json, top: int) -> bool:
    held = [len(entry["top"]) for ranking in summary["rankings"] for entry in ranking["clusters"].values()]
    count: int = summary["layer"]["count"]
    return min(held, default=top) < min(top, count)


def _finite(value: np.float32) -> float | None:
    return float(value) if np.isfinite(value) else None
