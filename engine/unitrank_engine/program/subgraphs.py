"""Parts of a graph as modules of their own."""

from collections.abc import Callable, Collection, Sequence
from typing import Any

from torch import fx

Outputs = Callable[[fx.Graph, list[fx.Node]], Any]
"""The new graph and the wanted values in it → what the module returns. Any: a node, or a tuple of nodes."""


def sources_of(*nodes: fx.Node, without: Collection[fx.Node] = ()) -> set[fx.Node]:
    """The nodes and all that they are computed from; nodes of `without`, and what only those need, are left out."""
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
    wanted: Sequence[fx.Node],
    *,
    given: Sequence[fx.Node] = (),
    inputs: bool = True,
    outputs: Outputs = lambda graph, nodes: tuple(nodes),
) -> fx.GraphModule:
    """A module that computes the wanted values and nothing else, with the parameters of `module`.

    It takes the inputs of `module`, unless `inputs` is False, and behind them the given values.
    """
    graph, copies = fx.Graph(), dict[fx.Node, fx.Node]()
    if inputs:
        for node in module.graph.nodes:
            if node.op == "placeholder":
                copies[node] = graph.node_copy(node)
    for index, node in enumerate(given):
        copies[node] = graph.placeholder(f"given_{index}")
        copies[node].meta = dict(node.meta)
    needed = sources_of(*wanted, without=copies)
    for node in module.graph.nodes:
        if node in needed:
            copies[node] = graph.node_copy(node, lambda source: copies[source])
    graph.output(outputs(graph, [copies[node] for node in wanted]))
    return fx.GraphModule(module, graph)
