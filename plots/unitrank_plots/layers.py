"""The layers of a job side by side: area, selectivity, and units that keep 90 % of the score."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from unitrank_plots.choice import Choice
from unitrank_plots.style import COLOURS, VERDICT_COLOURS, figure, short, title
from unitrank_plots.values.layers import chosen_lines
from unitrank_schemas.results import VERDICT_LABELS, LayeredResult


def layers(result: LayeredResult, choice: Choice) -> Figure:
    """Bars for each layer, the first one on top. Raises NoPicture without an ablation."""
    lines, subject = chosen_lines(result, choice)
    drawing, (left, middle, right) = figure(1.9 + 0.34 * len(lines), 3)
    verdicts = [(VERDICT_COLOURS[line.verdict], VERDICT_LABELS[line.verdict]) for line in lines]
    _bars(left, [line.area for line in lines], [colour for colour, _ in verdicts])
    left.set_xlabel("area")
    _bars(middle, [line.selectivity for line in lines], [COLOURS[0]] * len(lines))
    middle.set_xlabel("selectivity")
    shares = [None if line.share_for_90 is None else 100 * line.share_for_90 for line in lines]
    _bars(right, shares, [COLOURS[0]] * len(lines))
    right.set_xlabel("% of the units that\nkeep 90 % of the score")
    left.set_yticks(np.arange(len(lines))[::-1], [short(line.layer, 22) for line in lines])
    for axes in (middle, right):
        axes.set_yticks([])
    # The names of classes change the name of a ranking.
    ranking = short(lines[0].ranking) if choice.ranking else "the best ranking of each layer"
    title(drawing, f"Layer by layer: {ranking}, {subject}")
    patches = [
        Patch(facecolor=colour, edgecolor="#333333", linewidth=0.6, label=label) for colour, label in dict.fromkeys(verdicts)
    ]
    drawing.legend(handles=patches, loc="outside lower center", ncols=min(3, len(patches)), title="colour of the area", fontsize=8)
    return drawing


def _bars(axes: Axes, values: Sequence[float | None], colours: Sequence[str]) -> None:
    """Draw a bar for each layer, and a dash where the value is missing."""
    places = np.arange(len(values))[::-1]
    axes.barh(places, [value or 0.0 for value in values], color=colours, edgecolor="#333333", linewidth=0.6)
    for place, value in zip(places, values, strict=True):
        if value is None:
            axes.annotate("–", (0, place), xytext=(3, 0), textcoords="offset points", va="center", fontsize=8)
    axes.axvline(0, color="black", linewidth=0.6)
    axes.set_ylim(-0.6, len(values) - 0.4)
