"""The values of the pictures of units: the importance of all units, and heatmaps."""

import numpy as np

from unitrank_plots.choice import Arrays, Choice, cluster_of, ranking_of, unit_name
from unitrank_plots.values.grids import grid
from unitrank_plots.values.numbers import finite
from unitrank_schemas.base import Json
from unitrank_schemas.results import Result

NAMED = 20
MOST_POINTS = 2000
"""Units of the curve of all units. A larger layer is shown by evenly spaced ranks."""


def importance(result: Result, arrays: Arrays, choice: Choice) -> Json:
    """The importance of the first units with their intervals, and of all units in order."""
    ranking, (row, cluster) = ranking_of(result, choice), cluster_of(result, choice)
    values = arrays[f"importance/{ranking.id}"][row].astype(np.float64)
    order = np.argsort(-values, kind="stable")
    top = ranking.clusters[cluster.name].top[:NAMED] if cluster.name in ranking.clusters else []
    ranks = np.unique(np.linspace(0, len(values) - 1, min(MOST_POINTS, len(values))).round().astype(int))
    first = {
        "kind": "bars",
        "labels": [unit_name(result, unit.unit) for unit in top],
        "units": [unit.unit for unit in top],
        "values": [unit.importance for unit in top],
        "low": [unit.importance_low for unit in top],
        "high": [unit.importance_high for unit in top],
        "x": {"label": "unit"},
        "y": {"label": "importance"},
    }
    drawn = order[ranks]
    line = {"name": ranking.id, "order": "most", "colour": 0, "values": finite(values[drawn]), "units": drawn.tolist()}
    every = {
        "kind": "lines",
        "x": {"label": f"rank of {len(values)} units", "values": (ranks + 1).tolist(), "scale": "linear"},
        "y": {"label": "importance"},
        "series": [line],
    }
    return {"title": f"{ranking.id}, cluster {cluster.name}", "panels": [first, every]}


def heatmap(result: Result, arrays: Arrays, choice: Choice) -> Json:
    """The importance of a ranking in a cluster, or the scores of one kept example."""
    ranking, (row, cluster) = ranking_of(result, choice), cluster_of(result, choice)
    values, channels = grid(result, arrays, choice, ranking, row, cluster.name)
    signed = bool((values < 0).any())
    bound = float(np.abs(values).max(initial=0.0)) or 1.0
    height, width = values.shape
    subject = f"cluster {cluster.name}" + ("" if choice.example is None else f", example {choice.example}")
    panel = {
        "kind": "matrix",
        "rows": {"label": "row", "names": [str(number) for number in range(height)]},
        "columns": {
            "label": "position" if result.layer.units == "position" and height == 1 else "column",
            "names": [str(number) for number in range(width)],
        },
        "values": finite(values),
        "value": {"label": "importance" if choice.example is None else "score", "low": -bound if signed else 0.0, "high": bound},
    }
    words = f"; {channels}" if channels else ""
    return {"title": f"{ranking.id} at layer {result.layer.name}, {subject}{words}", "panels": [panel]}
