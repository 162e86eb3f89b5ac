"""Draws a picture by its name, and writes it as a file."""

import io
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pkgutil import resolve_name

import matplotlib as mpl
from matplotlib.figure import Figure

from unitrank_plots import LAYERED, PICTURES
from unitrank_plots.choice import Arrays, Choice, Style
from unitrank_plots.class_names import in_words
from unitrank_plots.style import PAPER, PAPER_WIDTH, SETTINGS
from unitrank_schemas.results import LayeredResult, Result

_LOCK = threading.Lock()
Draw = Callable[[Result, Arrays, Choice], Figure]
OF_LAYERS: dict[str, Callable[[LayeredResult, Choice], Figure]] = {
    name: resolve_name(function) for name, function in LAYERED.items()
}
FIGURES: dict[str, Draw] = {name: resolve_name(function) for name, function in PICTURES.items()}


def draw(name: str, result: Result, arrays: Arrays, choice: Choice) -> Figure:
    """The picture of this name.

    Raises NoPicture if the result lacks its data, and KeyError for a name not in `PICTURES`.
    """
    with _settings(choice.style):
        drawn = FIGURES[name](*in_words(result, arrays, choice))
    return _styled(drawn, choice.style)


def draw_layers(name: str, result: LayeredResult, choice: Choice) -> Figure:
    """The picture of several layers of this name.

    Raises NoPicture if the result lacks its data, and KeyError for a name not in `LAYERED`.
    """
    with _settings(choice.style):
        drawn = OF_LAYERS[name](result, choice)
    return _styled(drawn, choice.style)


def _styled(drawn: Figure, style: Style) -> Figure:
    if style == "paper":
        # The caption of a paper says what the title says.
        drawn.suptitle("")
        width, height = drawn.get_size_inches()
        drawn.set_size_inches(PAPER_WIDTH, PAPER_WIDTH * height / width)
    return drawn


def rendered(figure: Figure, form: str, style: Style = "screen") -> bytes:
    """The bytes of the file; equal figures give equal bytes. `form`: `png` or `svg`."""
    sink = io.BytesIO()
    with _settings(style):
        figure.savefig(sink, format=form, metadata={"Date": None} if form == "svg" else {"Software": None})
    return sink.getvalue()


@contextmanager
def _settings(style: Style) -> Iterator[None]:
    # All threads share matplotlib's settings: only one picture is drawn at a time.
    with _LOCK, mpl.rc_context({**SETTINGS, **(PAPER if style == "paper" else {})}):
        yield
