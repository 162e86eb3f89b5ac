"""How far into a model its values stay affine in the inputs: along a straight path they are interpolated, not computed again.

The first convolution of the paper's net took a third of the time of its conductance, though between two inputs its result
is known.
"""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, fx

from unitrank_engine.program.linearity.affine import MOVING, is_affine
from unitrank_engine.program.nodes import is_real, operator_name
from unitrank_engine.program.places import batch_axis
from unitrank_engine.program.subgraphs import extract, sources_of


@dataclass(frozen=True)
class Frontier:
    """The last affine values on the way from the inputs to some nodes, and the way from there."""

    axes: list[int]
    """Along which examples stand in each of the values."""
    before: fx.GraphModule
    """The inputs → the values."""
    behind: fx.GraphModule
    """The inputs and the values → the nodes."""

    @cached_property
    def reads(self) -> list[bool]:
        """Of each input, whether it is read once more behind the values."""
        inputs = [node for node in self.behind.graph.nodes if node.op == "placeholder"]
        return [bool(node.users) for node in inputs[: len(inputs) - len(self.axes)]]

    def at(self, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """The values of these inputs, without gradients."""
        with torch.no_grad():
            return tuple(self.before(*inputs))


def find_frontier(module: fx.GraphModule, goals: list[fx.Node], symbols: frozenset[str]) -> Frontier | None:
    """None where nothing would be saved: the inputs go at once into something that is not affine."""
    graph = module.graph
    needed = sources_of(*goals)
    moving = [node for node in graph.nodes if node.op == "placeholder" and is_real(node)]
    dependent, affine = set(moving), set(moving)
    for node in graph.nodes:
        if node.op == "placeholder" or not any(source in dependent for source in node.all_input_nodes):
            continue
        dependent.add(node)
        if batch_axis(node, symbols) is not None and is_affine(node, affine, dependent):
            affine.add(node)
    affine_nodes = [node for node in graph.nodes if node in affine and node in needed and node not in moving]
    last = [node for node in affine_nodes if node in goals or any(user in needed and user not in affine for user in node.users)]
    if all(MOVING.match(operator_name(node)) for node in affine_nodes):
        return None
    axes = [axis for node in last if (axis := batch_axis(node, symbols)) is not None]
    return Frontier(axes, extract(module, last), extract(module, goals, given=last))
