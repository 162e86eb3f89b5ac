"""Finds the last values of a model that are affine in the inputs.

Along a straight path between two inputs, affine values also move on a straight line. They are
interpolated instead of computed again. Without that, the first convolution of the paper's network
took a third of the time of conductance.
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
    """The last affine values on the paths from the inputs to some goals.

    The frontier also holds the graphs before and after these values.
    """

    nodes: tuple[fx.Node, ...]
    """The nodes of the values."""
    axes: list[int]
    """The axis of the batch in each of the values."""
    before: fx.GraphModule
    """The graph from the inputs to the values."""
    behind: fx.GraphModule
    """The graph from the inputs and the values to the goals."""

    @cached_property
    def reads(self) -> list[bool]:
        """For each input, whether a node after the frontier reads the input again."""
        inputs = [node for node in self.behind.graph.nodes if node.op == "placeholder"]
        return [bool(node.users) for node in inputs[: len(inputs) - len(self.axes)]]

    def at(self, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """The values at the frontier for these inputs, without gradients."""
        with torch.no_grad():
            return tuple(self.before(*inputs))


def find_frontier(module: fx.GraphModule, goals: list[fx.Node], symbols: frozenset[str]) -> Frontier | None:
    """The frontier on the paths to `goals`.

    None when the affine operators only move values, so that interpolating would save no work.
    """
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
    return Frontier(tuple(last), axes, extract(module, last), extract(module, goals, given=last))
