"""The values of the first tab of a job with several layers: where in the network."""

from collections.abc import Mapping
from typing import Any

from unitrank_schemas.class_names import of_classes
from unitrank_schemas.result_text import group_warnings
from unitrank_service.results.layers.overview import overview
from unitrank_service.results.parsed_result import parsed_layers
from unitrank_service.web.job_view import LAYERED_TABS, LAYERS_TAB, TabChoice, choice

Json = dict[str, Any]


def layers_values(summary: bytes, chosen: TabChoice, names: Mapping[str, str]) -> Json:
    """The values of the tab. `summary`: the result of all layers as JSON.

    `names`: number of a class → its name, for texts. The links of the page keep the ids.

    The process that draws runs this function for a large summary.
    """
    result = parsed_layers(summary)
    first = result.of_layer(next(iter(result.layers)))
    choices = choice(first, chosen.cluster, chosen.ranking)
    return {
        "tab": LAYERS_TAB,
        "tabs": LAYERED_TABS,
        "layer": chosen.layer,
        "dataset_digest": result.dataset.digest,
        "warning_count": len(group_warnings(first.warnings)),
        **choices,
        **overview(result, names, choices["cluster"] or None, choices["ranking"] or None),
        "names": names,
        "classes": names if of_classes(first) else {},
    }
