"""The leaderboard, and the agreement of the rankings.

The leaderboard shows the area and the verdict of each ranking.
"""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from unitrank_plots.choice import Arrays, Choice
from unitrank_plots.style import VERDICT_COLOURS, figure, first_of, short, title
from unitrank_plots.values.rankings import correlations, tested_leaders
from unitrank_schemas.results import VERDICT_LABELS, Result, place_in_words

MOST = 20
MOST_WRITTEN = 12


def leaderboard(result: Result, arrays: Arrays, choice: Choice) -> Figure:
    """The first `MOST` rankings, the best on top. Raises NoPicture if the job had no ablation."""
    leaders = tested_leaders(result)
    drawing, (axes,) = figure(1.7 + 0.34 * len(leaders))
    places = np.arange(len(leaders))[::-1]
    verdicts = [(VERDICT_COLOURS[leader.verdict], VERDICT_LABELS[leader.verdict]) for leader in leaders]
    areas = [leader.area or 0.0 for leader in leaders]
    axes.barh(places, areas, color=[colour for colour, _ in verdicts], edgecolor="#333333", linewidth=0.6)
    for place, leader, area in zip(places, leaders, areas, strict=True):
        text = f"  {leader.better_than_random} of {leader.of} clusters" + ("" if leader.area is not None else ", no area")
        axes.annotate(text, (max(area, 0.0), place), va="center", fontsize=8)
    axes.axvline(0, color="black", linewidth=0.6)
    axes.margins(x=0.3)
    axes.set_yticks(places, [short(leader.ranking) for leader in leaders])
    axes.set_xlabel("area: mean drop of the score,\ndivided by the drop with all units replaced")
    left_out = first_of(result.leaderboard, MOST, "rankings")
    title(drawing, f"Leaderboard of {short(place_in_words(result.layer), 34)}: area, and clusters better than random{left_out}")
    patches = [
        Patch(facecolor=colour, edgecolor="#333333", linewidth=0.6, label=label) for colour, label in dict.fromkeys(verdicts)
    ]
    # Inside the axes the legend would cover the text beside a bar.
    drawing.legend(handles=patches, loc="outside lower center", ncols=min(3, len(patches)), title="over all clusters", fontsize=8)
    return drawing


def agreement(result: Result, arrays: Arrays, choice: Choice) -> Figure:
    """Spearman's correlation of each pair of rankings, in one cluster or averaged over all.

    Raises NoPicture if the job has one ranking only.
    """
    ids, values, subject = correlations(result, arrays, choice)
    drawing, (axes,) = figure(1.6 + 0.45 * len(ids))
    image = axes.imshow(values, cmap="RdBu_r", vmin=-1, vmax=1)
    # The numbers of more rankings would overlap.
    for row in range(len(ids) if len(ids) <= MOST_WRITTEN else 0):
        for column in range(len(ids)):
            shade = "white" if abs(values[row, column]) > 0.6 else "black"
            number = f"{values[row, column]:.2f}" if np.isfinite(values[row, column]) else "–"
            axes.text(column, row, number, ha="center", va="center", color=shade, fontsize=8)
    names = [short(id, 22) for id in ids]
    axes.set_xticks(range(len(ids)), names, rotation=40, ha="right")
    axes.set_yticks(range(len(ids)), names)
    axes.spines[:].set_visible(False)
    drawing.colorbar(image, ax=axes, label="rank correlation", shrink=0.8)
    title(drawing, f"Agreement of the rankings, {subject}{first_of(result.rankings, MOST, 'rankings')}")
    return drawing
