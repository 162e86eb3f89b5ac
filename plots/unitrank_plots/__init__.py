"""Pictures of a result, drawn by matplotlib from the summary and the arrays, without a screen."""

from unitrank_plots.choice import Choice, NoPicture

__all__ = ["LAYERED", "PICTURES", "Choice", "NoPicture"]

PICTURES = {
    "ablation": "unitrank_plots.ablation:ablation",
    "importance": "unitrank_plots.importance:importance",
    "heatmap": "unitrank_plots.heatmap:heatmap",
    "leaderboard": "unitrank_plots.leaderboard:leaderboard",
    "agreement": "unitrank_plots.leaderboard:agreement",
    "comparisons": "unitrank_plots.comparisons:comparisons",
    "specificity": "unitrank_plots.comparisons:specificity",
}
"""Name of a picture → its function, as `module:function`.

`unitrank_plots.figures` imports the functions; only then is matplotlib loaded.
"""

LAYERED = {"layers": "unitrank_plots.layers:layers"}
"""Name of a picture of a job with several layers → its function."""
