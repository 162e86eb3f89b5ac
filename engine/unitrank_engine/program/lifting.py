"""Makes the vectors that embeddings look up inputs of the graph.

Path methods move each input along a straight line from a baseline to an example. Two token ids have
no such line between them, but the vectors that an embedding looks up for the ids do. So each
look-up is taken out of the graph, and its result becomes an input. Ids and masks keep their values,
and the vectors move.
"""

from dataclasses import dataclass

import torch
from torch import fx

from unitrank_engine.program.nodes import is_real, operator_name
from unitrank_engine.program.places import SHAPE_ONLY, batch_axis
from unitrank_engine.program.proof.checked_graph import CheckedGraph
from unitrank_engine.program.subgraphs import extract

MOVE = torch.ops.aten.movedim.int
LOOKUPS = {"aten::embedding": (0, 1), "aten::index_select": (0, 2), "aten::index": (0, 1)}
"""Operator → the positions of its table and its indices among its arguments."""


@dataclass(frozen=True)
class Lifted:
    """A model whose looked-up vectors are inputs."""

    module: CheckedGraph
    """Takes the model's inputs, followed by the looked-up vectors with their batch axis first."""
    look_up: fx.GraphModule | None
    """The model's inputs → the looked-up vectors; None when the model looks up nothing."""
    moved: dict[fx.Node, fx.Node]
    """Node of a look-up in the original graph → the node that replaces it."""
    sources: set[fx.Node]
    """The model's inputs whose values are looked up."""


def lift(module: fx.GraphModule, symbols: frozenset[str]) -> Lifted:
    """Takes look-ups for integer inputs out of the graph of `module`, which is changed in place."""
    graph = module.graph
    origins = _origins(graph)
    lookups = [node for node in graph.nodes if _is_lookup(node, origins) and batch_axis(node, symbols) is not None]
    if not lookups:
        return Lifted(CheckedGraph(module, graph), None, {}, set())
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
    return Lifted(CheckedGraph(module, graph), look_up, moved, set().union(*(origins[node] for node in lookups)))


def _origins(graph: fx.Graph) -> dict[fx.Node, set[fx.Node]]:
    """For each node, the inputs of the model that its value is computed from."""
    origins: dict[fx.Node, set[fx.Node]] = {}
    for node in graph.nodes:
        if node.op == "placeholder":
            origins[node] = {node}
        elif not SHAPE_ONLY.match(operator_name(node)):
            origins[node] = set().union(*(origins.get(source, set()) for source in node.all_input_nodes))
    return origins


def _is_lookup(node: fx.Node, origins: dict[fx.Node, set[fx.Node]]) -> bool:
    positions = LOOKUPS.get(operator_name(node))
    if positions is None:
        return False
    table, indices = node.args[positions[0]], node.args[positions[1]]
    if isinstance(indices, list | tuple):
        indices = indices[0] if len(indices) == 1 else None
    if not isinstance(table, fx.Node) or not isinstance(indices, fx.Node) or origins.get(table):
        return False
    sources = origins.get(indices, set())
    if node.meta["val"].dim() <= indices.meta["val"].dim():
        # The table gives a number for each index, not a vector: a mask is looked up like this.
        return False
    return bool(sources) and not any(source.meta["val"].dtype.is_floating_point for source in sources)


def path_of(inputs: dict[str, fx.Node], lifted: Lifted) -> list[str]:
    """Names of the values that move between a baseline and an example.

    These are the real-valued inputs, and the layers whose look-ups replace the integer inputs.
    """
    real = [name for name, node in inputs.items() if is_real(node)]
    return real + [_layer_of(node) for node in lifted.moved]


def _layer_of(node: fx.Node) -> str:
    """The path of the module that looks up."""
    paths = [path for path, _ in (node.meta.get("nn_module_stack") or {}).values() if path]
    return paths[-1] if paths else node.name
