"""Copies parts of a graph into separate modules."""

from collections.abc import Callable, Collection, Sequence
from typing import Any

from torch import fx

from unitrank_engine.program.proof.checked_graph import CheckedGraph

Outputs = Callable[[fx.Graph, list[fx.Node]], Any]
"""The result of a new module: a node, or a tuple of nodes.

The function gets the new graph and the nodes of its goals.
"""


def sources_of(*nodes: fx.Node, without: Collection[fx.Node] = ()) -> set[fx.Node]:
    """The nodes, and all nodes that they are computed from.

    The nodes of `without` are left out, and so are nodes that only the nodes of `without` need.
    """
    needed: set[fx.Node] = set()
    waiting = list(nodes)
    while waiting:
        node = waiting.pop()
        if node not in needed and node not in without:
            needed.add(node)
            waiting += node.all_input_nodes
    return needed


def extract(
    module: fx.GraphModule,
    goals: Sequence[fx.Node],
    *,
    given: Sequence[fx.Node] = (),
    inputs: bool = True,
    outputs: Outputs = lambda graph, nodes: tuple(nodes),
) -> CheckedGraph:
    """A module that computes the values of `goals` and nothing else.

    It shares the parameters of `module`.

    `given`: nodes whose values the new module takes as arguments instead of computing them.
    `inputs`: whether the new module takes the inputs of `module`, before the given values.
    `outputs`: builds the result of the new module; by default a tuple of the goals.
    """
    graph, copies = fx.Graph(), dict[fx.Node, fx.Node]()
    if inputs:
        for node in module.graph.nodes:
            if node.op == "placeholder":
                copies[node] = graph.node_copy(node)
    for index, node in enumerate(given):
        copies[node] = graph.placeholder(f"given_{index}")
        copies[node].meta = dict(node.meta)
    needed = sources_of(*goals, without=copies)
    for node in module.graph.nodes:
        if node in needed:
            copies[node] = graph.node_copy(node, lambda source: copies[source])
    graph.output(outputs(graph, [copies[node] for node in goals]))
    return CheckedGraph(module, graph)
