"""Makes the vectors that embeddings look up inputs of the graph.

Path methods move each input along a straight line from a baseline to an example. Two token ids have
no such line between them, but the vectors that an embedding looks up for the ids do. So each
look-up is taken out of the graph, and its result becomes an input. Ids and masks keep their values,
and the vectors move.
"""

from dataclasses import dataclass

import torch
from torch import fx

from unitrank_engine.program.contracts.positions import positions
from unitrank_engine.program.nodes import is_real, operator_name
from unitrank_engine.program.places import SHAPE_ONLY, batch_axis, symbol_of
from unitrank_engine.program.proof.checked_graph import CheckedGraph
from unitrank_engine.program.subgraphs import extract

MOVE = torch.ops.aten.movedim.int
FLATTEN = torch.ops.aten.flatten.using_ints
RESHAPE = torch.ops.aten.reshape.default
FOLDING = frozenset(f"aten::{name}" for name in ("reshape", "view", "flatten"))
COPYING = frozenset(f"aten::{name}" for name in ("_to_copy", "clone", "contiguous", "alias"))
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
    sources: dict[fx.Node, set[fx.Node]]
    """Node of a look-up in the original graph → the model's inputs that its ids come from."""


@dataclass(frozen=True)
class _Lookup:
    """A look-up, and how its rows are arranged.

    `axis`: the axis of the batch.
    `folded`: the node before the indices were folded, with rows first; None if they were not.
    """

    node: fx.Node
    axis: int = 0
    folded: fx.Node | None = None

    def _counts(self) -> list[int]:
        """The sizes of a row's axes that are folded into the batch."""
        return [] if self.folded is None else [int(size) for size in self.folded.meta["val"].shape[1:]]

    def rows_first(self, graph: fx.Graph, node: fx.Node) -> fx.Node:
        """The looked-up vectors with their batch axis first."""
        if self.folded is None:
            return graph.call_function(MOVE, (node, self.axis, 0))
        width = [int(size) for size in self.node.meta["val"].shape[1:]]
        return graph.call_function(RESHAPE, (node, [-1, *self._counts(), *width]))

    def as_in_graph(self, graph: fx.Graph, node: fx.Node) -> fx.Node:
        """The vectors with their rows first, arranged as the graph reads them."""
        if self.folded is None:
            return graph.call_function(MOVE, (node, 0, self.axis))
        return graph.call_function(FLATTEN, (node, 0, len(self._counts())))

    def trace(self) -> torch.Tensor:
        """The trace of the vectors with their rows first."""
        value: torch.Tensor = self.node.meta["val"]
        if self.folded is None:
            return value.movedim(self.axis, 0)
        return value.reshape(self.folded.meta["val"].shape[0], *self._counts(), *value.shape[1:])


def _lookup(node: fx.Node, symbols: frozenset[str]) -> _Lookup | None:
    """How the rows of a look-up are arranged; None where the graph does not show it."""
    axis = batch_axis(node, symbols)
    if axis is not None:
        return _Lookup(node, axis)
    indices = node.args[LOOKUPS[operator_name(node)][1]]
    indices = indices[0] if isinstance(indices, list | tuple) else indices
    while isinstance(indices, fx.Node) and (operator_name(indices) in COPYING or indices.target is positions):
        indices = indices.args[0]
    if not isinstance(indices, fx.Node) or operator_name(indices) not in FOLDING or indices.meta["val"].dim() != 1:
        return None
    before = indices.args[0]
    assert isinstance(before, fx.Node)
    sizes = before.meta["val"].shape
    if symbol_of(sizes[0]) not in symbols or any(isinstance(size, torch.SymInt) for size in sizes[1:]):
        return None
    return _Lookup(node, folded=before)


def lift(module: fx.GraphModule, symbols: frozenset[str]) -> Lifted:
    """Takes look-ups for integer inputs out of the graph of `module`, which is changed in place."""
    graph = module.graph
    origins = _origins(graph)
    lookups = [lookup for node in graph.nodes if _is_lookup(node, origins) and (lookup := _lookup(node, symbols))]
    if not lookups:
        return Lifted(CheckedGraph(module, graph), None, {}, {})
    nodes = [lookup.node for lookup in lookups]
    look_up = extract(
        module,
        nodes,
        outputs=lambda graph, nodes: tuple(lookup.rows_first(graph, node) for node, lookup in zip(nodes, lookups, strict=True)),
    )
    moved = {}
    last = [node for node in graph.nodes if node.op == "placeholder"][-1]
    for index, lookup in enumerate(lookups):
        node = lookup.node
        with graph.inserting_after(last):
            last = moved[node] = graph.placeholder(f"looked_up_{index}")
        last.meta = dict(node.meta)
        if lookup.axis or lookup.folded:
            last.meta["val"] = lookup.trace()
            with graph.inserting_before(node):
                moved[node] = lookup.as_in_graph(graph, last)
            moved[node].meta = dict(node.meta)
        node.replace_all_uses_with(moved[node])
    graph.eliminate_dead_code()
    return Lifted(CheckedGraph(module, graph), look_up, moved, {node: origins[node] for node in nodes})


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
    arguments = LOOKUPS.get(operator_name(node))
    if arguments is None:
        return False
    table, indices = node.args[arguments[0]], node.args[arguments[1]]
    if isinstance(indices, list | tuple):
        indices = indices[0] if len(indices) == 1 else None
    if not isinstance(table, fx.Node) or not isinstance(indices, fx.Node) or origins.get(table):
        return False
    sources = origins.get(indices, set())
    if node.meta["val"].dim() <= indices.meta["val"].dim():
        # The table gives a number for each index, not a vector: a mask is looked up like this.
        return False
    return bool(sources) and not any(source.meta["val"].dtype.is_floating_point for source in sources)


@dataclass(frozen=True)
class PathValue:
    """A value that moves between a baseline and an example: a real input, or a looked-up vector."""

    name: str
    """The name of the input, or the path of the module that looks up."""
    position: int
    """The index among the lifted inputs."""
    inputs: list[str]
    """The inputs that the value is computed from, by name."""


def path_of(inputs: dict[str, fx.Node], lifted: Lifted) -> list[PathValue]:
    """The values that move between a baseline and an example, the real inputs first."""
    real = [PathValue(name, index, [name]) for index, (name, node) in enumerate(inputs.items()) if is_real(node)]
    looked_up = [
        PathValue(_layer_of(node), len(inputs) + index, [name for name, source in inputs.items() if source in lifted.sources[node]])
        for index, node in enumerate(lifted.moved)
    ]
    return real + looked_up


def _layer_of(node: fx.Node) -> str:
    """The path of the module that looks up."""
    paths = [path for path, _ in (node.meta.get("nn_module_stack") or {}).values() if path]
    return paths[-1] if paths else node.name
