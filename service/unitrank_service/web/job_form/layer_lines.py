"""The layers of the form: one control for a layer, and lines with names or patterns of others."""

from collections.abc import Sequence
from typing import Any

from unitrank_schemas.jobs import WILDCARD


def lines_in(text: str) -> list[str]:
    """The names and patterns in the text, one on each line."""
    return [line.strip() for line in text.splitlines() if line.strip()]


def requested_layer(layer: str, more: str) -> str | list[str]:
    """The field `layer` of the request. `more`: the text with further layers."""
    lines = lines_in(more)
    return [*([layer] if layer else []), *lines] if lines else layer


def controls_of(layer: Any, names: Sequence[str]) -> dict[str, str]:  # Any: a JSON value
    """The values of the controls that make this field `layer`. `names`: the layers of the model."""
    if isinstance(layer, str) and WILDCARD not in layer:
        return {"layer": layer, "more_layers": ""}
    layers = layer if isinstance(layer, list) else [layer]
    # A list of one name stays a list: its result has a part for each layer.
    own = 1 if len(layers) > 1 and layers[0] in names else 0
    return {"layer": layers[0] if own else "", "more_layers": "\n".join(layers[own:])}
