"""Gives integer inputs a path: what embeddings look up for them become inputs of their own.

Between two token ids there is nothing, but between the vectors that they look up there is a straight line. So each look-up
is taken out of the graph and its result is handed in: ids and masks stay as they are, and the values move.
"""

from dataclasses import dataclass

import torch
from torch import fx

from unitrank_engine.program.nodes import is_real, operator_name
from unitrank_engine.program.places import SHAPE_ONLY, batch_axis
from unitrank_engine.program.subgraphs import extract

MOVE = torch.ops.aten.movedim.int
LOOKUPS = {"aten::embedding": (0, 1), "aten::index_select": (0, 2), "aten::index": (0, 1)}
"""Operator → where the table and the indices stand."""


@dataclass(frozen=True)
class Lifted:
    """A model whose look-ups are inputs."""

    module: fx.GraphModule
    """Takes the model's inputs and, behind them, the looked-up values, each with its batch first."""
    look_up: fx.GraphModule | None
    """The model's inputs → the looked-up values; None where there are none."""
    moved: dict[fx.Node, fx.Node]
    """Look-up in the graph as it was → what took its place."""
    sources: set[fx.Node]
    """The model's inputs whose values are looked up."""


def lift(module: fx.GraphModule, symbols: frozenset[str]) -> Lifted:
    """Takes look-ups for integer inputs out of the module's graph, which is changed."""
    graph = module.graph
    origins = _origins(graph)
    lookups = [node for node in graph.nodes if _is_lookup(node, origins) and batch_axis(node, symbols) is not None]
    if not lookups:
        return Lifted(module, None, {}, set())
    axes = [batch_axis(node, symbols) or 0 for node in lookups]
    look_up = extract(
        module,
        lookups,
        outputs=lambda graph, nodes: tuple(
            graph.call_function(MOVE, (node, axis, 0)) for node, axis in zip(nodes, axes, strict=True)
        ),
    )
    moved = {}
    last = [node for node in graph.nodes if node.op == "placeholder"][-1]
    for index, (node, axis) in enumerate(zip(lookups, axes, strict=True)):
        with graph.inserting_after(last):
            last = moved[node] = graph.placeholder(f"looked_up_{index}")
        last.meta = dict(node.meta)
        if axis:
            last.meta["val"] = node.meta["val"].movedim(axis, 0)
            with graph.inserting_before(node):
                moved[node] = graph.call_function(MOVE, (last, 0, axis))
            moved[node].meta = dict(node.meta)
        node.replace_all_uses_with(moved[node])
    graph.eliminate_dead_code()
    return Lifted(fx.GraphModule(module, graph), look_up, moved, set().union(*(origins[node] for node in lookups)))


def _origins(graph: fx.Graph) -> dict[fx.Node, set[fx.Node]]:
    """Of each value the model's inputs that it is computed from."""
    origins: dict[fx.Node, set[fx.Node]] = {}
    for node in graph.nodes:
        if node.op == "placeholder":
            origins[node] = {node}
        elif not SHAPE_ONLY.match(operator_name(node)):
            origins[node] = set().union(*(origins.get(source, set()) for source in node.all_input_nodes))
    return origins


def _is_lookup(node: fx.Node, origins: dict[fx.Node, set[fx.Node]]) -> bool:
    places = LOOKUPS.get(operator_name(node))
    if places is None:
        return False
    table, indices = node.args[places[0]], node.args[places[1]]
    if isinstance(indices, list | tuple):
        indices = indices[0] if len(indices) == 1 else None
    if not isinstance(table, fx.Node) or not isinstance(indices, fx.Node) or origins.get(table):
        return False
    sources = origins.get(indices, set())
    if node.meta["val"].dim() <= indices.meta["val"].dim():
        # a number for each index: what a mask becomes, and no vector
        return False
    return bool(sources) and not any(source.meta["val"].dtype.is_floating_point for source in sources)


def path_of(inputs: dict[str, fx.Node], lifted: Lifted) -> list[str]:
    """Names of what moves between a baseline and an example: real inputs, and the layers whose look-ups do for the others."""
    real = [name for name, node in inputs.items() if is_real(node)]
    return real + [_layer_of(node) for node in lifted.moved]


def _layer_of(node: fx.Node) -> str:
    """The module that looks up."""
    paths = [path for path, _ in (node.meta.get("nn_module_stack") or {}).values() if path]
    return paths[-1] if paths else node.name
