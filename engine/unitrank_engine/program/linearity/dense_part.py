"""Finds affine parts that are one dense layer, whose weights are the part's matrix.

Between the place and the layer, values may be moved, but not changed.
"""

from dataclasses import dataclass
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, fx

from unitrank_engine.program.linearity.affine import MOVING
from unitrank_engine.program.linearity.outgoing import DENSE, linear_operation
from unitrank_engine.program.nodes import is_real, operator_name
from unitrank_engine.program.places import Place, batch_axis
from unitrank_engine.program.program import Program
from unitrank_engine.program.split import Split, descendants
from unitrank_engine.program.subgraphs import extract

MOST_NUMBERED = 2**24
"""Elements of a place that have exact numbers in float32."""


@dataclass(frozen=True)
class DensePart:
    """The affine part `y = W · moved(h) + b`.

    `moves`: from the place to the argument of the dense layer.
    """

    moves: Split
    weight: fx.GraphModule
    transposed: bool
    """Whether the graph has Wᵀ instead of W."""

    def matrix(self, example: tuple[Tensor, ...]) -> Float[Tensor, "elements outputs"]:
        """Return the part's matrix. `example`: the inputs of one example."""
        h, live = self.moves.head(example)
        (weight,) = self.weight()
        rows: Tensor = weight.detach() if self.transposed else weight.detach().T
        with torch.no_grad():
            numbers = torch.arange(h[0].numel(), dtype=h.dtype, device=h.device).reshape(h.shape)
            elements = self.moves.tail(numbers, live).flatten().long()
        # An element that moves to several features has the sum of their weights.
        return rows.new_zeros(h[0].numel(), rows.shape[1]).index_add_(0, elements, rows)


def dense_part(program: Program, place: Place, end: fx.Node) -> DensePart | None:
    """Return the affine part from the place to `end`; None where it is not one dense layer."""
    key = (place.node, end)
    if key not in program.dense_parts:
        program.dense_parts[key] = _dense_part(program, place, end)
    return cast(DensePart | None, program.dense_parts[key])


def _dense_part(program: Program, place: Place, end: fx.Node) -> DensePart | None:
    graph, symbols = program.module.graph, program.symbols
    dependent = descendants(graph, place.node, end) | {place.node}
    linear = linear_operation(end, dependent)
    if linear is None or not DENSE.match(operator_name(end)) or place.units > MOST_NUMBERED or linear.factor != 1:
        return None
    source = linear.source
    moved = {source} | descendants(graph, place.node, source) if source is not place.node else set()
    if any(node in dependent and node is not source for node in end.all_input_nodes):
        return None  # The bias depends on the place, too.
    if not all(MOVING.match(operator_name(node)) for node in moved):
        return None
    if _axes(source) != 2 or any(batch_axis(node, symbols) != 0 for node in (source, end)) or not is_real(place.node):
        return None
    weight = extract(program.module, [linear.weight], inputs=False)
    moves = Split(program.module, place, source, symbols, program.costs)
    return DensePart(moves, weight, transposed=operator_name(end) != "aten::linear")


def _axes(node: fx.Node) -> int:
    value = node.meta["val"]
    return value.dim() if isinstance(value, Tensor) else 0
