"""Figures of a result, equal to the plots that the service draws."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from unitrank.errors import NotPossible
from unitrank.name_clashes import clash_of
from unitrank_schemas.results import LayeredResult, Result

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from unitrank.results.files import Arrays
    from unitrank_plots import Choice


def figure_of(name: str, summary: Result | LayeredResult, arrays: Arrays, choice: Choice) -> Figure:
    """The figure of this name, which a notebook displays.

    Raises NotPossible if the plot does not exist for this result, or matplotlib is missing.
    """
    try:
        from unitrank_plots import NoPicture
        from unitrank_plots.figures import FIGURES, OF_LAYERS, draw, draw_layers, rendered
    except ImportError as error:
        needs = f"plots need matplotlib, which cannot be imported ({error}): pip install 'unitrank[plots]'"
        raise NotPossible(clash_of(error) or needs, code="not_installed") from error
    names = [*FIGURES, *(OF_LAYERS if isinstance(summary, LayeredResult) else [])]
    if name not in names:
        raise NotPossible(f"plot {name!r} not found; use one of {', '.join(names)}", code="plot_not_found")
    try:
        figure = draw_layers(name, summary, choice) if isinstance(summary, LayeredResult) else draw(name, summary, arrays, choice)
    except NoPicture as error:
        raise NotPossible(error.detail, code=error.code) from error
    # A notebook displays automatically only the figures of pyplot.
    figure._repr_png_ = partial(rendered, figure, "png")  # type: ignore[attr-defined]
    return figure
