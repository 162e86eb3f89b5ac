"""Finds the places of a graph: the values that a job can rank.

A place is named by a module call, such as layer `features.0`, and by the side of the call: its
output or its input. The graph has no modules; a node's `nn_module_stack` lists the calls that the
node belongs to.
"""

import re
from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass
from math import prod

import torch
from torch import fx

from unitrank_engine.program.channels import Axes, channel_axes, channel_axis
from unitrank_engine.program.nodes import is_real, operator_name
from unitrank_engine.torch_private import expression_of

# The results of these operators depend on the shapes of their arguments, not on the values.
SHAPE_ONLY = re.compile(r"aten::(sym_\w+|\w+_like|new_\w+|size)$")


@dataclass(frozen=True)
class Place:
    """A value of the graph: the output or the input of a module call.

    `layer`: the module's path, `path@1` for its second call, or `input` for the model's input.
    `at`: `output` or `input`.
    `kind`: the module's class name, such as `Conv2d`.
    `node`: the node that computes the value.
    """

    layer: str
    at: str
    kind: str
    node: fx.Node
    shape: tuple[int, ...]
    """The sizes of the axes without the batch."""
    batch_axis: int
    """The axis of the batch in the graph, which need not be the first one."""
    channel_axis: int | None
    """An index of `shape`; None where the graph does not show which axis holds the channels."""

    @property
    def units(self) -> int:
        """The number of units: the elements of the value for one example."""
        return prod(self.shape)


def symbol_of(size: int | torch.SymInt) -> str | None:
    """The expression of a symbolic size as text; None for a fixed size."""
    return str(expression_of(size)) if isinstance(size, torch.SymInt) else None


def batch_axis(node: fx.Node, symbols: frozenset[str]) -> int | None:
    """The axis of a real tensor whose size is the batch.

    None when the value is not a real tensor, has no such axis, or has a second dynamic axis.
    """
    value = node.meta.get("val")
    if not isinstance(value, torch.Tensor) or not value.dtype.is_floating_point:
        return None
    dynamic = [axis for axis, size in enumerate(value.shape) if isinstance(size, torch.SymInt)]
    if len(dynamic) != 1 or symbol_of(value.shape[dynamic[0]]) not in symbols:
        return None
    return dynamic[0]


def reaches(graph: fx.Graph, blocked: fx.Node | None, goal: fx.Node, held: Collection[fx.Node] = ()) -> bool:
    """Whether a real-valued input reaches `goal` on a path that does not pass `blocked`.

    `held`: inputs that do not count, because they have the same value in a baseline.

    Integer inputs do not count, because they are equal in a baseline and its example. So a layer's
    importances are complete even if a mask of integers goes around the layer.
    """
    return goal in _dependent(graph, blocked, held)


def cuts(graph: fx.Graph, goal: fx.Node) -> set[fx.Node]:
    """The nodes that every path from a real-valued input to `goal` passes: no input reaches it
    without them, see `reaches`.

    One pass finds all these nodes. In the order of execution, every path passes a node if no edge
    of a path leads from a node before it to a node behind it.
    """
    path = _path_to(graph, goal)
    if not path:
        return set(graph.nodes)
    order = {node: index for index, node in enumerate(graph.nodes)}
    # The largest index that an edge from an earlier node leads to. The inputs come from outside.
    furthest = max(order[node] for node in path if node.op == "placeholder")
    passed = set()
    for node in graph.nodes:
        if node in path:
            if furthest <= order[node]:
                passed.add(node)
            furthest = max([furthest, *(order[user] for user in node.users if user in path)])
    return passed


def _path_to(graph: fx.Graph, goal: fx.Node) -> set[fx.Node]:
    """The nodes on the paths from a real-valued input to `goal`; empty if no input reaches it."""
    dependent = _dependent(graph)
    path = {goal} & dependent
    for node in reversed(graph.nodes):
        if node in path:
            path.update(source for source in node.all_input_nodes if source in dependent)
    return path


def _dependent(graph: fx.Graph, blocked: fx.Node | None = None, held: Collection[fx.Node] = ()) -> set[fx.Node]:
    """The nodes that a real-valued input, except `held` ones, reaches on a path past `blocked`."""
    dependent: set[fx.Node] = set()
    for node in graph.nodes:
        if node is blocked:
            continue
        reads = not SHAPE_ONLY.match(operator_name(node)) and any(source in dependent for source in node.all_input_nodes)
        if reads or (node.op == "placeholder" and is_real(node) and node not in held):
            dependent.add(node)
    return dependent


def find_places(graph: fx.Graph, symbols: frozenset[str], inputs: dict[str, fx.Node]) -> list[Place]:
    """All places of the model's inputs and module calls, in order of execution.

    `symbols`: the symbols for the size of the batch.
    `inputs`: the model's inputs by name.
    """
    order = {node: index for index, node in enumerate(graph.nodes)}
    useful, axes = _ancestors(graph), channel_axes(graph)
    places = []
    for name, node in inputs.items():
        layer = "input" if len(inputs) == 1 else f"input:{name}"
        places += _place(layer, "output", "Input", node, symbols, useful, axes)
    calls = _calls(graph)
    groups: list[tuple[int, int, int, list[Place]]] = []
    for layer, (kind, nodes) in calls.items():
        output = _leaving(nodes)
        entering = _entering(nodes, symbols)
        place = _place(layer, "output", kind, output, symbols, useful, axes) if output else []
        if place:
            depth = layer.count(".")
            both = place + _input_place(layer, kind, entering, symbols, useful, axes)
            groups.append((order[place[0].node], -depth, len(groups), both))
    return places + [place for *_, group in sorted(groups, key=lambda entry: entry[:3]) for place in group]


def _input_place(
    layer: str, kind: str, node: fx.Node | None, symbols: frozenset[str], useful: set[fx.Node], axes: Axes
) -> list[Place]:
    return _place(layer, "input", kind, node, symbols, useful, axes) if node else []


def _place(layer: str, at: str, kind: str, node: fx.Node, symbols: frozenset[str], useful: set[fx.Node], axes: Axes) -> list[Place]:
    axis = batch_axis(node, symbols)
    if axis is None or node not in useful:
        return []
    sizes = node.meta["val"].shape
    shape = tuple(int(size) for index, size in enumerate(sizes) if index != axis)
    if not shape or prod(shape) == 0:
        return []
    return [Place(layer, at, kind, node, shape, axis, channel_axis(node, axes, axis))]


def _ancestors(graph: fx.Graph) -> set[fx.Node]:
    """The nodes that the output of the graph depends on."""
    useful: set[fx.Node] = set()
    for node in reversed(graph.nodes):
        if node.op == "output" or any(user in useful for user in node.users):
            useful.add(node)
    return useful


def _calls(graph: fx.Graph) -> dict[str, tuple[str, list[fx.Node]]]:
    """The class name and the nodes of each module call, by the name of the call.

    The first call of a module is named by its path, the second one `path@1`.
    """
    names: dict[str, str] = {}
    times: dict[str, int] = defaultdict(int)
    calls: dict[str, tuple[str, list[fx.Node]]] = {}
    for node in graph.nodes:
        if node.op != "call_function":
            continue
        for key, (path, kind) in (node.meta.get("nn_module_stack") or {}).items():
            if not path or path == key:
                continue
            if key not in names:
                names[key] = f"{path}@{times[path]}" if times[path] else path
                times[path] += 1
            calls.setdefault(names[key], (_kind(kind), []))[1].append(node)
    return calls


def _kind(kind: object) -> str:
    return (kind if isinstance(kind, str) else getattr(kind, "__qualname__", str(kind))).rsplit(".", 1)[-1]


def _leaving(nodes: list[fx.Node]) -> fx.Node | None:
    """The node whose value the call returns, or None when no value leaves the call.

    When one operator returns a tuple, as an LSTM does, its first value counts; else the value that
    is computed last.

    None also when one operator outside reads all of several values, such as a weighted sum of the
    states of all layers. The graph does not show which of them, if any, the call returns first.
    """
    inside = set(nodes)
    tensors = [node for node in nodes if isinstance(node.meta.get("val"), torch.Tensor)]
    leaving = [node for node in tensors if any(user not in inside for user in node.users)]
    parents = {node.args[0] for node in leaving} if all("getitem" in str(node.target) for node in leaving) else set()
    if len(parents) == 1:
        return leaving[0]
    readers = {user for node in leaving for user in node.users if user not in inside}
    if not leaving or (len(leaving) > 1 and len(readers) == 1 and next(iter(readers)).op == "call_function"):
        return None
    return leaving[-1]


def _entering(nodes: list[fx.Node], symbols: frozenset[str]) -> fx.Node | None:
    """The first real value with a batch axis that the call reads from outside."""
    inside = set(nodes)
    for node in nodes:
        for source in node.all_input_nodes:
            if source not in inside and source.op != "get_attr" and batch_axis(source, symbols) is not None:
                return source
    return None
