"""Comparisons: the differences of two rankings' areas with their intervals, and the specificity."""

import numpy as np
from matplotlib.figure import Figure

from unitrank_plots.choice import Arrays, Choice, ranking_of
from unitrank_plots.style import COLOURS, figure, first_of, short, title
from unitrank_plots.values.rankings import pairs_of, specificity_of
from unitrank_schemas.results import Comparison, Result

MOST_PAIRS = 20
MOST_CLUSTERS = 30
MOST_WRITTEN = 12


def comparisons(result: Result, arrays: Arrays, choice: Choice) -> Figure:
    """A forest plot: the difference of each two rankings, where units are replaced and are kept.

    With a ranking, only its own pairs are drawn. Raises NoPicture without a comparison.
    """
    pairs = pairs_of(result, choice)
    drawn = pairs[:MOST_PAIRS]
    drawing, axes = figure(1.6 + 0.34 * len(drawn), 2)
    places = np.arange(len(drawn))[::-1]
    for each, values, label in zip(axes, (_removed(drawn), _kept(drawn)), ("units replaced", "units kept"), strict=True):
        for place, (value, low, high) in zip(places, values, strict=True):
            if np.isfinite(value):
                each.plot([low, high], [place, place], color=COLOURS[0], linewidth=1.5)
                each.plot([value], [place], color=COLOURS[0], marker="s", markersize=4)
        each.axvline(0, color="black", linewidth=0.6)
        each.set_ylim(-0.6, len(drawn) - 0.4)
        each.set_xlabel(f"{label}:\ndifference of the areas")
    axes[0].set_yticks(places, [f"{short(pair.a, 16)} − {short(pair.b, 16)}" for pair in drawn])
    axes[1].set_yticks([])
    left_out = first_of(pairs, MOST_PAIRS, "pairs")
    title(drawing, f"Differences between rankings, with intervals: right of 0 the first one is better{left_out}")
    return drawing


def specificity(result: Result, arrays: Arrays, choice: Choice) -> Figure:
    """The area of each cluster's order on the examples of each cluster, for one ranking.

    Raises NoPicture if the job did not test it.
    """
    tested = specificity_of(result, choice)
    clusters = [cluster.name for cluster in result.clusters]
    drawn = clusters[:MOST_CLUSTERS]
    matrix = np.array(tested.matrix, dtype=np.float64)[: len(drawn), : len(drawn)]
    drawing, (axes,) = figure(1.8 + 0.3 * len(drawn))
    image = axes.imshow(matrix, cmap="Blues", vmin=min(0.0, float(np.nanmin(matrix, initial=0.0))))
    middle = (float(np.nanmin(matrix, initial=0.0)) + float(np.nanmax(matrix, initial=0.0))) / 2
    # The numbers of more clusters would overlap.
    for row, column in np.ndindex(matrix.shape if len(drawn) <= MOST_WRITTEN else (0, 0)):
        number = f"{matrix[row, column]:.2f}" if np.isfinite(matrix[row, column]) else "–"
        shade = "white" if matrix[row, column] > middle else "black"
        axes.text(column, row, number, ha="center", va="center", color=shade, fontsize=8)
    names = [short(name, 16) for name in drawn]
    axes.set_xticks(range(len(drawn)), names, rotation=40, ha="right")
    axes.set_yticks(range(len(drawn)), names)
    axes.set_xlabel("examples of cluster")
    axes.set_ylabel("order of cluster")
    axes.spines[:].set_visible(False)
    drawing.colorbar(image, ax=axes, label="area", shrink=0.8)
    left_out = first_of(clusters, MOST_CLUSTERS, "clusters")
    title(drawing, f"{short(ranking_of(result, choice).id)}: each cluster's order on the examples of each cluster{left_out}")
    return drawing


def _removed(pairs: list[Comparison]) -> list[tuple[float, float, float]]:
    return [_numbers(pair.difference, pair.low, pair.high) for pair in pairs]


def _kept(pairs: list[Comparison]) -> list[tuple[float, float, float]]:
    return [_numbers(pair.keep_difference, pair.keep_low, pair.keep_high) for pair in pairs]


def _numbers(*values: float | None) -> tuple[float, float, float]:
    value, low, high = (np.nan if each is None else each for each in values)
    return value, low, high
