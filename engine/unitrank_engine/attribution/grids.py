"""The points of the shared path that each method needs."""

from collections.abc import Iterable, Mapping

from unitrank_engine.attribution.scores import score_key
from unitrank_engine.methods import METHODS
from unitrank_schemas.methods import MethodBase

Grid = tuple[tuple[float, bool], ...]
"""Each α strictly between 0 and 1, and whether the gradient is taken there."""


def needs_of(entries: Iterable[MethodBase]) -> dict[float, bool]:
    """Return for each end of the path, 0.0 and 1.0, whether a method takes the gradient there."""
    points_of_methods = [METHODS[entry.name].points(entry) for entry in entries]
    return {end: any(points.get(end, False) for points in points_of_methods) for end in (0.0, 1.0)}


def squared(entries: Iterable[MethodBase]) -> set[str]:
    """Return the keys of scores whose sums of s⁴ are needed: a ranking has the statistic `rms`."""
    return {score_key(entry) for entry in entries if entry.statistic == "rms"}


def grids(entries: Mapping[str, MethodBase]) -> dict[Grid, list[str]]:
    """Group the methods' keys by their inner points.

    Two methods share points only if all their inner points are equal.

    Points of two grids in one pass would change each other's rounding, so that a method's scores
    would depend on the job's other methods.
    """
    by_points: dict[Grid, list[str]] = {}
    for key, entry in entries.items():
        points = METHODS[entry.name].points(entry)
        inner = tuple(sorted((alpha, need) for alpha, need in points.items() if 0.0 < alpha < 1.0))
        by_points.setdefault(inner, []).append(key)
    return by_points
