"""All pictures by name, and their bytes."""

import io
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pkgutil import resolve_name

import matplotlib as mpl
from matplotlib.figure import Figure

from unitrank_plots import PICTURES
from unitrank_plots.choice import Arrays, Choice
from unitrank_plots.style import SETTINGS
from unitrank_schemas.results import Result

_ONE = threading.Lock()
Draw = Callable[[Result, Arrays, Choice], Figure]
FIGURES: dict[str, Draw] = {name: resolve_name(function) for name, function in PICTURES.items()}


def draw(name: str, result: Result, arrays: Arrays, choice: Choice) -> Figure:
    """Raises NoPicture where the result has none of this."""
    with _settings():
        return FIGURES[name](result, arrays, choice)


def rendered(figure: Figure, form: str) -> bytes:
    """The file, `png` or `svg`; equal results make equal bytes."""
    sink = io.BytesIO()
    with _settings():
        figure.savefig(sink, format=form, metadata={"Date": None} if form == "svg" else {"Software": None})
    return sink.getvalue()


@contextmanager
def _settings() -> Iterator[None]:
    # matplotlib's settings are the whole process's: one picture at a time.
    with _ONE, mpl.rc_context(SETTINGS):
        yield
