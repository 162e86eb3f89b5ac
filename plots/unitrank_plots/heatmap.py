"""Heatmaps: scores in the shape of the layer or of the input image.

Magnitudes are drawn in viridis, signed scores in colours that are centred at zero.
"""

from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from unitrank_plots.choice import Arrays, Choice, cluster_of, ranking_of
from unitrank_plots.style import figure, short, title
from unitrank_plots.values.grids import grid
from unitrank_schemas.results import Result

SIGNED, MAGNITUDE = "RdBu_r", "viridis"


def heatmap(result: Result, arrays: Arrays, choice: Choice) -> Figure:
    """The importance of a ranking in a cluster, or the scores of one kept example.

    Raises NoPicture for a name, example or channel that the result does not have.
    """
    ranking, (row, cluster) = ranking_of(result, choice), cluster_of(result, choice)
    values, channels = grid(result, arrays, choice, ranking, row, cluster.name)
    drawing, (axes,) = figure(4.6)
    extent = (-0.5, values.shape[1] - 0.5, values.shape[0] - 0.5, -0.5)
    if choice.background is not None:
        axes.imshow(choice.background, cmap="gray", extent=extent, aspect=_aspect(values), interpolation="nearest")
    signed = bool((values < 0).any())
    bound = float(np.abs(values).max()) or 1.0
    image = axes.imshow(
        values,
        cmap=SIGNED if signed else MAGNITUDE,
        vmin=-bound if signed else 0.0,
        vmax=bound,
        # Units of low importance are transparent, so that the input stays visible.
        alpha=1.0 if choice.background is None else 0.1 + 0.7 * np.abs(values) / bound,
        aspect=_aspect(values),
        interpolation="nearest",
    )
    drawing.colorbar(image, ax=axes, label="score" if choice.example is not None else "importance", shrink=0.85)
    subject = f"cluster {short(cluster.name)}" + ("" if choice.example is None else f", example {choice.example}")
    title(drawing, f"{short(ranking.id)} at layer {short(result.layer.name)}, {subject}" + (f"\n{channels}" if channels else ""))
    if result.layer.units == "position" and len(result.layer.shape) == 1:
        axes.set_xlabel("position")
        axes.set_yticks([])
    for side in (axes.xaxis,) if len(values) == 1 else (axes.xaxis, axes.yaxis):
        side.set_major_locator(MaxNLocator(8, integer=True, min_n_ticks=1))
    axes.spines[:].set_visible(False)
    return drawing


def _aspect(values: NDArray[np.float64]) -> Any:
    # Any: matplotlib takes a word or a number. With square pixels, one row would be a thin line.
    height, width = values.shape
    return "equal" if max(height, width) <= 8 * min(height, width) else "auto"
