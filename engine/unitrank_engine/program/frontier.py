"""How far into a model its values stay affine in the inputs: along a straight path they are interpolated, not computed again.

The first convolution of the paper's net took a third of the time of its conductance, though between two inputs its result
is known.
"""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, fx

from unitrank_engine.program.affine import MOVING, is_affine
from unitrank_engine.program.functional import operator_name
from unitrank_engine.program.places import batch_axis


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
    needed = _sources(goals)
    moving = [node for node in graph.nodes if node.op == "placeholder" and _is_real(node)]
    dependent, affine = set(moving), set(moving)
    for node in graph.nodes:
        if node.op == "placeholder" or not any(source in dependent for source in node.all_input_nodes):
            continue
        dependent.add(node)
        if batch_axis(node, symbols) is not None and is_affine(node, affine, dependent):
            affine.add(node)
    made = [node for node in graph.nodes if node in affine and node in needed and node not in moving]
    last = [node for node in made if node in goals or any(user in needed and user not in affine for user in node.users)]
    if all(MOVING.match(operator_name(node)) for node in made):
        return None
    axes = [axis for node in last if (axis := batch_axis(node, symbols)) is not None]
    return Frontier(axes, _graph(module, last, []), _graph(module, goals, last))


def _graph(module: fx.GraphModule, goals: list[fx.Node], given: list[fx.Node]) -> fx.GraphModule:
    """From the inputs and what is given to the goals."""
    graph, known = fx.Graph(), dict[fx.Node, fx.Node]()
    for node in module.graph.nodes:
        if node.op == "placeholder":
            known[node] = graph.node_copy(node)
    for index, node in enumerate(given):
        known[node] = graph.placeholder(f"given_{index}")
    needed = _sources(goals, known)
    for node in module.graph.nodes:
        if node in needed and node not in known:
            known[node] = graph.node_copy(node, lambda source: known[source])
    graph.output(tuple(known[node] for node in goals))
    return fx.GraphModule(module, graph)


def _sources(goals: list[fx.Node], known: dict[fx.Node, fx.Node] | None = None) -> set[fx.Node]:
    """The goals and what they are computed from, as far as that is not known."""
    found: set[fx.Node] = set()
    waiting = list(goals)
    while waiting:
        node = waiting.pop()
        if node not in found and node not in (known or {}):
            found.add(node)
            waiting += node.all_input_nodes
    return found


def _is_real(node: fx.Node) -> bool:
    value = node.meta.get("val")
    return isinstance(value, torch.Tensor) and value.dtype.is_floating_point
