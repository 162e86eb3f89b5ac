"""Pictures of a result: drawn from its summary and arrays, wherever those come from, with matplotlib and without a screen."""

from unitrank_plots.choice import Choice, NoPicture

__all__ = ["PICTURES", "Choice", "NoPicture"]

PICTURES = {
    "ablation": "unitrank_plots.ablation:ablation",
    "importance": "unitrank_plots.importance:importance",
    "heatmap": "unitrank_plots.heatmap:heatmap",
    "leaderboard": "unitrank_plots.leaderboard:leaderboard",
    "agreement": "unitrank_plots.leaderboard:agreement",
}
"""Name → the function that draws it; `unitrank_plots.figures` loads the functions, and matplotlib with them."""
