"""The values of pictures as JSON, for programs and pages that draw them; without matplotlib.

A picture has a title and panels. The kinds of panels: `lines` over a common x, `bars` with
intervals, `intervals` alone, and `matrix`.
"""

from collections.abc import Callable
from pkgutil import resolve_name

from unitrank_plots.choice import Arrays, Choice
from unitrank_plots.class_names import in_words
from unitrank_schemas.base import Json
from unitrank_schemas.results import LayeredResult, Result

FUNCTIONS = {
    "ablation": "unitrank_plots.values.curves:ablation",
    "importance": "unitrank_plots.values.units:importance",
    "heatmap": "unitrank_plots.values.units:heatmap",
    "leaderboard": "unitrank_plots.values.rankings:leaderboard",
    "agreement": "unitrank_plots.values.rankings:agreement",
    "comparisons": "unitrank_plots.values.rankings:comparisons",
    "specificity": "unitrank_plots.values.rankings:specificity",
}
"""Name of a picture → the function with its values, as `module:function`."""
OF_LAYERS = {"layers": "unitrank_plots.values.layers:layers"}
"""The same for pictures of a job with several layers."""


def values_of_layers(name: str, result: LayeredResult, choice: Choice) -> Json:
    """Return the title and the panels of a picture of several layers, as `values_of` does."""
    function: Callable[[LayeredResult, Choice], Json] = resolve_name(OF_LAYERS[name])
    return function(result, choice)


def values_of(name: str, result: Result, arrays: Arrays, choice: Choice) -> Json:
    """Return the title and the panels of a picture.

    Raises NoPicture if the result lacks its data, and KeyError for another name.
    """
    function: Callable[[Result, Arrays, Choice], Json] = resolve_name(FUNCTIONS[name])
    return function(*in_words(result, arrays, choice))
