"""Verdicts: how a ranking compares with random orders."""

from typing import Literal

Verdict = Literal["better_than_random", "no_better_than_random", "worse_than_random", "undecided"]

VERDICT_LABELS: dict[str | None, str] = {
    "better_than_random": "better than random",
    "no_better_than_random": "no better than random",
    "worse_than_random": "worse than random",
    "undecided": "undecided",
    None: "not tested",
}
"""Verdict → its label in reports, pages, tables and figures; None for a job without ablation."""
