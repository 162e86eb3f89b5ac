"""The graph of a model's layers as boxes and lines, from the input at the top to the output."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

MOST_LAYERS = 400
"""Layers of a graph. The table of the page has all layers."""
WIDTH, HEIGHT, GAP, SPACE = 196, 44, 26, 20
"""Size of a box, and the distance to the next row and to the next box, in pixels."""
TEXT = 24
"""Letters of a name that fit into a box."""


@dataclass(frozen=True)
class Box:
    """One layer. `x`, `y`: its upper left corner, in pixels."""

    layer: Mapping[str, Any]
    x: float
    y: float

    @property
    def name(self) -> str:
        """The name, or its end where the box is too small."""
        name: str = self.layer["name"]
        return name if len(name) <= TEXT else f"…{name[1 - TEXT :]}"


@dataclass(frozen=True)
class LayerGraph:
    """The boxes, and the lines between them as SVG paths. `width`, `height`: in pixels."""

    boxes: Sequence[Box]
    lines: Sequence[str]
    width: int
    height: int


def layer_graph(layers: Sequence[Mapping[str, Any]]) -> LayerGraph | None:
    """Return the graph; None for a model with too many layers.

    The layers of an older inspection do not name the layers before them; each follows the last one.
    """
    if not layers or len(layers) > MOST_LAYERS:
        return None
    names = {layer["name"] for layer in layers}
    before = {
        layer["name"]: [name for name in _after(layers, number) if name in names and name != layer["name"]]
        for number, layer in enumerate(layers)
    }
    rows: dict[str, int] = {}
    for name, sources in before.items():
        rows[name] = 1 + max((rows[source] for source in sources if source in rows), default=-1)
    most = max(list(rows.values()).count(row) for row in set(rows.values()))
    width = most * (WIDTH + SPACE) + 3 * SPACE
    boxes: dict[str, Box] = {}
    for row in range(1 + max(rows.values())):
        here = [layer for layer in layers if rows[layer["name"]] == row]
        left = (width - len(here) * (WIDTH + SPACE) + SPACE) / 2
        for column, layer in enumerate(here):
            boxes[layer["name"]] = Box(layer, left + column * (WIDTH + SPACE), row * (HEIGHT + GAP) + 2)
    lines = [
        _line(boxes[source], boxes[name], far=rows[name] - rows[source] > 1)
        for name, sources in before.items()
        for source in sources
        if source in boxes
    ]
    return LayerGraph(list(boxes.values()), lines, width, (1 + max(rows.values())) * (HEIGHT + GAP) - GAP + 4)


def _after(layers: Sequence[Mapping[str, Any]], number: int) -> Sequence[str]:
    after: Sequence[str] | None = layers[number].get("after")
    return after if after is not None else [layers[number - 1]["name"]] if number else []


def _line(source: Box, target: Box, *, far: bool) -> str:
    """The path of a line. A line over several rows goes round the boxes between."""
    x, y, to_x, to_y = source.x + WIDTH / 2, source.y + HEIGHT, target.x + WIDTH / 2, target.y
    if not far:
        return f"M{x:g} {y:g}C{x:g} {y + GAP / 2:g} {to_x:g} {to_y - GAP / 2:g} {to_x:g} {to_y:g}"
    side, y, to_y = max(source.x, target.x) + WIDTH + SPACE, source.y + HEIGHT / 2, target.y + HEIGHT / 2
    return f"M{source.x + WIDTH:g} {y:g}C{side:g} {y:g} {side:g} {to_y:g} {target.x + WIDTH:g} {to_y:g}"
