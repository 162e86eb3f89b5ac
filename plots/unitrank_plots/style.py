"""How all pictures look: told apart without colour vision, legible at 600 pixels, on white paper."""

from collections.abc import Sequence
from textwrap import wrap
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from unitrank_schemas.results import Verdict

# Okabe and Ito's palette, which people with every kind of colour vision can tell apart (https://jfly.uni-koeln.de/color/).
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#F0E442")
DASHES: tuple[Any, ...] = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (8, 2)), (0, (1, 1)), (0, (3, 5)))
BAND = "#B0B0B0"
VERDICT_COLOURS: dict[Verdict | None, str] = {
    "better_than_random": "#0072B2",
    "no_better_than_random": "#999999",
    "worse_than_random": "#D55E00",
    "undecided": "#DDDDDD",
    None: "#FFFFFF",
}
SETTINGS: Any = {
    "font.size": 10,
    "font.family": "DejaVu Sans",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "legend.frameon": False,
    "legend.fontsize": 9,
    "svg.hashsalt": "unitrank",
    "svg.fonttype": "path",
    # A name of a client's is text, and no formula.
    "text.parse_math": False,
}
# Any: matplotlib types each setting's name.
WIDTH, DPI = 6.4, 150


def figure(height: float, columns: int = 1, widths: Sequence[float] | None = None) -> tuple[Figure, list[Axes]]:
    """An empty one. Nothing of pyplot: that one keeps every figure, and is for one thread."""
    drawn = Figure(figsize=(WIDTH, height), dpi=DPI, layout="constrained")
    return drawn, list(drawn.subplots(1, columns, squeeze=False, width_ratios=widths)[0])


def title(drawn: Figure, text: str) -> None:
    """Over the whole width, in as many lines as it takes."""
    lines = [line for paragraph in text.splitlines() for line in wrap(paragraph, 72, break_on_hyphens=False)]
    drawn.suptitle("\n".join(lines), x=0.01, ha="left", fontsize=SETTINGS["axes.titlesize"])


def first_of(all: Sequence[object], most: int, what: str) -> str:
    """What a title says where not all of them have room; nothing where they have."""
    return f"; the first {most} of {len(all)} {what}" if len(all) > most else ""


def short(name: str, most: int = 28) -> str:
    """A name that has room beside a curve: its beginning and its end, which tell names apart."""
    return name if len(name) <= most else f"{name[: most - most // 3 - 1]}…{name[-(most // 3) :]}"
