"""Pictures of a result: drawn from its summary and arrays, wherever those come from, with matplotlib and without a screen."""

from unitrank_plots.choice import Choice, NoPicture

__all__ = ["PICTURES", "Choice", "NoPicture"]

PICTURES = ("ablation", "importance", "heatmap", "leaderboard", "agreement")
"""Their names; `unitrank_plots.figures` has what draws them, and loads matplotlib."""
