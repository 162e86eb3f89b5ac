"""The style of all pictures: white background, legible at 600 pixels and without colour vision."""

from collections.abc import Sequence
from textwrap import wrap
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from unitrank_schemas.results import Verdict

# The palette of Okabe and Ito, which suits all kinds of colour vision:
# https://jfly.uni-koeln.de/color/
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
# Any: matplotlib has a type for the name of each setting.
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
    # Clients choose the names. `$x^2$` in a name is text, not a formula.
    "text.parse_math": False,
}
# STIX is the font of many journals, and matplotlib has it.
PAPER: Any = {"font.size": 9, "font.family": "STIXGeneral", "axes.linewidth": 0.6, "lines.linewidth": 1.2, "savefig.dpi": 300}
PAPER_WIDTH = 5.0
"""Inches of a picture for print."""
# Inches, and pixels in an inch.
WIDTH, DPI = 6.4, 150


def figure(height: float, columns: int = 1, widths: Sequence[float] | None = None) -> tuple[Figure, list[Axes]]:
    """An empty figure and its axes side by side. `height`: inches; `widths`: ratios of the columns.

    pyplot is not used: it keeps every figure and works in one thread only.
    """
    drawn = Figure(figsize=(WIDTH, height), dpi=DPI, layout="constrained")
    return drawn, list(drawn.subplots(1, columns, squeeze=False, width_ratios=widths)[0])


def title(drawn: Figure, text: str) -> None:
    """Set the title over the whole width; a long title is wrapped."""
    lines = [line for paragraph in text.splitlines() for line in wrap(paragraph, 72, break_on_hyphens=False)]
    drawn.suptitle("\n".join(lines), x=0.01, ha="left", fontsize=SETTINGS["axes.titlesize"])


def first_of(items: Sequence[object], most: int, kind: str) -> str:
    """The end of a title if only the first `most` items are drawn; empty if all are drawn."""
    return f"; the first {most} of {len(items)} {kind}" if len(items) > most else ""


def short(name: str, most: int = 28) -> str:
    """The beginning and end of the name, where names often differ; at most `most` characters."""
    return name if len(name) <= most else f"{name[: most - most // 3 - 1]}…{name[-(most // 3) :]}"
