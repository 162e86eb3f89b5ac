"""The importance of the units: the top units with their intervals, and all units in order."""

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from unitrank_plots.choice import Arrays, Choice, cluster_of, ranking_of, unit_name
from unitrank_plots.style import BAND, COLOURS, figure, short, title
from unitrank_schemas.results import Result, Unit

NAMED = 15
MOST_POINTS = 2000


def importance(result: Result, arrays: Arrays, choice: Choice) -> Figure:
    """The importance of all units by one ranking in one cluster. Raises NoPicture."""
    ranking, (row, cluster) = ranking_of(result, choice), cluster_of(result, choice)
    values = arrays[f"importance/{ranking.id}"][row].astype(np.float64)
    spreads = arrays.get(f"spread/{ranking.id}")
    spread = np.full_like(values, np.nan) if spreads is None else spreads[row].astype(np.float64)
    order = np.argsort(-values, kind="stable")
    top = order[:NAMED]
    intervals = _intervals(ranking.clusters[cluster.name].top[:NAMED]) if cluster.name in ranking.clusters else None
    drawing, (left, right) = figure(4.2, 2, (3, 2))
    places = np.arange(len(top))[::-1]
    errors = np.nan_to_num(spread[top]) if intervals is None else intervals
    left.barh(places, values[top], color=COLOURS[0], xerr=errors, error_kw={"ecolor": "#555555", "lw": 0.8})
    left.set_yticks(places, [unit_name(result, int(unit)) for unit in top])
    left.set_ylabel("unit")
    left.set_xlabel("importance ± spread over examples" if intervals is None else "importance and its interval")
    title(drawing, f"{short(ranking.id)}, cluster {short(cluster.name)}")
    # An SVG keeps every point, so a large layer is drawn by evenly spaced ranks.
    ranks = np.unique(np.linspace(0, len(values) - 1, min(MOST_POINTS, len(values))).round().astype(int))
    drawn_units = order[ranks]
    low, high = (values[drawn_units] + sign * np.nan_to_num(spread[drawn_units]) for sign in (-1, 1))
    right.fill_between(ranks + 1, low, high, color=BAND, alpha=0.6, linewidth=0)
    right.plot(ranks + 1, values[drawn_units], color=COLOURS[0])
    right.axhline(0, color="black", linewidth=0.6)
    right.set_xlabel("rank")
    right.set_title(f"all {len(values)} units")
    return drawing


def _intervals(top: list[Unit]) -> NDArray[np.float64] | None:
    """The lengths of the intervals below and above each importance; None without intervals."""
    below = [unit.importance - unit.importance_low for unit in top if unit.importance_low is not None]
    above = [unit.importance_high - unit.importance for unit in top if unit.importance_high is not None]
    return np.array([below, above]) if len(below) == len(above) == len(top) else None
