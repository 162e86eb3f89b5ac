"""The curves of compared jobs as an SVG."""

from collections.abc import Mapping
from math import ceil, floor
from typing import Any

from unitrank_schemas.class_names import named
from unitrank_schemas.comparison import ComparedJob
from unitrank_schemas.result_text import number

Json = dict[str, Any]

WIDTH, HEIGHT, MARGIN = 480, 340, 72
"""The size of the plot, and the room for its labels."""
MOST_LEVELS = 8


def curves_plot(jobs: Mapping[str, ComparedJob], names: Mapping[str, Mapping[str, str]]) -> Json | None:
    """Return the curves of the best rankings as points of an SVG, and their table.

    `jobs`: letter → job. `names`: id of a job → the names of its classes.
    """
    drawn = [(letter, job) for letter, job in jobs.items() if job.curve]
    if not drawn:
        return None
    values = [value for _, job in drawn if job.curve for value in job.curve.left]
    low, high = min(0.0, *values), max(1.0, *values)

    def place(share: float, left: float) -> tuple[float, float]:
        x = MARGIN + share * (WIDTH - 2 * MARGIN)
        return round(x, 1), round(MARGIN / 2 + (high - left) / (high - low) * (HEIGHT - 1.5 * MARGIN), 1)

    curves = []
    for letter, job in drawn:
        assert job.curve is not None
        points = [place(share, left) for share, left in zip(job.curve.shares, job.curve.left, strict=True)]
        curves.append(
            {
                "letter": letter,
                "ranking": named(job.curve.ranking, names[job.id]),
                "points": points,
                "values": [(f"{share:.1%}", number(left)) for share, left in zip(job.curve.shares, job.curve.left, strict=True)],
            }
        )
    ticks = [(place(share, low)[0], f"{share:.0%}") for share in (0, 0.25, 0.5, 0.75, 1)]
    levels = [(place(0, left)[1], f"{left:.0%}") for left in levels_between(low, high)]
    return {"width": WIDTH, "height": HEIGHT, "margin": MARGIN, "curves": curves, "ticks": ticks, "levels": levels}


def levels_between(low: float, high: float) -> list[float]:
    """Return round levels from `low` to `high`, at most 8.

    >>> levels_between(-0.3, 1.0)
    [0.0, 0.5, 1.0]
    >>> levels_between(-7.0, 1.0)
    [-6.0, -4.0, -2.0, 0.0]
    """
    step = 0.5
    while floor(high / step) - ceil(low / step) >= MOST_LEVELS:
        step *= 2
    return [step * place for place in range(ceil(low / step), floor(high / step) + 1)]
