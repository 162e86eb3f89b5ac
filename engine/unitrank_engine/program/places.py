"""Places: the values of the graph that a job may name, found by the module call that made them."""

import re
from collections import defaultdict
from dataclasses import dataclass
from math import prod

import torch
from torch import fx

from unitrank_engine.program.channels import channel_axis
from unitrank_engine.program.nodes import is_real, operator_name
from unitrank_engine.torch_private import expression_of

# What these return does not depend on the values of what they are given, only on its shape.
SHAPE_ONLY = re.compile(r"aten::(sym_\w+|\w+_like|new_\w+|size)$")


@dataclass(frozen=True)
class Place:
    """One value of the graph: after (`output`) or before (`input`) what a module call computes."""

    layer: str
    at: str
    kind: str
    node: fx.Node
    shape: tuple[int, ...]
    """Without the batch."""
    batch_axis: int
    channel_axis: int
    """Counted in `shape`."""

    @property
    def units(self) -> int:
        return prod(self.shape)


def symbol_of(size: int | torch.SymInt) -> str | None:
    """The expression of a symbolic size, None for a fixed one."""
    return str(expression_of(size)) if isinstance(size, torch.SymInt) else None


def batch_axis(node: fx.Node, symbols: frozenset[str]) -> int | None:
    """The one axis of a real tensor whose size is the batch, or None where there is no such axis."""
    value = node.meta.get("val")
    if not isinstance(value, torch.Tensor) or not value.dtype.is_floating_point:
        return None
    dynamic = [axis for axis, size in enumerate(value.shape) if isinstance(size, torch.SymInt)]
    if len(dynamic) != 1 or symbol_of(value.shape[dynamic[0]]) not in symbols:
        return None
    return dynamic[0]


def reaches(graph: fx.Graph, blocked: fx.Node | None, goal: fx.Node) -> bool:
    """Whether what moves between a baseline and an example has a way to `goal` that does not pass `blocked`.

    Integer inputs stay as they are, so that a mask that goes around a layer keeps nothing from summing up there.
    """
    dependent: set[fx.Node] = set()
    for node in graph.nodes:
        if node is blocked:
            continue
        reads = not SHAPE_ONLY.match(operator_name(node)) and any(source in dependent for source in node.all_input_nodes)
        if reads or (node.op == "placeholder" and is_real(node)):
            dependent.add(node)
    return goal in dependent


def find_places(graph: fx.Graph, symbols: frozenset[str], inputs: dict[str, fx.Node]) -> list[Place]:
    """Every place in order of execution: the model's inputs, then each module call's output and input."""
    order = {node: index for index, node in enumerate(graph.nodes)}
    useful = _ancestors(graph)
    places = []
    for name, node in inputs.items():
        layer = "input" if len(inputs) == 1 else f"input:{name}"
        places += _place(layer, "output", "Input", node, symbols, useful)
    calls = _calls(graph)
    found: list[tuple[int, int, int, list[Place]]] = []
    for layer, (kind, nodes) in calls.items():
        output = _leaving(nodes)
        entering = _entering(nodes, symbols)
        place = _place(layer, "output", kind, output, symbols, useful) if output else []
        if place:
            depth = layer.count(".")
            found.append((order[place[0].node], -depth, len(found), place + _input_place(layer, kind, entering, symbols, useful)))
    return places + [place for *_, group in sorted(found, key=lambda entry: entry[:3]) for place in group]


def _input_place(layer: str, kind: str, node: fx.Node | None, symbols: frozenset[str], useful: set[fx.Node]) -> list[Place]:
    return _place(layer, "input", kind, node, symbols, useful) if node else []


def _place(layer: str, at: str, kind: str, node: fx.Node, symbols: frozenset[str], useful: set[fx.Node]) -> list[Place]:
    axis = batch_axis(node, symbols)
    if axis is None or node not in useful:
        return []
    sizes = node.meta["val"].shape
    shape = tuple(int(size) for index, size in enumerate(sizes) if index != axis)
    if not shape or prod(shape) == 0:
        return []
    return [Place(layer, at, kind, node, shape, axis, channel_axis(node, axis, len(sizes)))]


def _ancestors(graph: fx.Graph) -> set[fx.Node]:
    """Nodes that the output depends on."""
    useful: set[fx.Node] = set()
    for node in reversed(graph.nodes):
        if node.op == "output" or any(user in useful for user in node.users):
            useful.add(node)
    return useful


def _calls(graph: fx.Graph) -> dict[str, tuple[str, list[fx.Node]]]:
    """The nodes of each module call by name: `path`, and `path@1` for the second call of the same module."""
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
    """What the call returns: of several values the first of a tuple that one operator made, else the last computed."""
    inside = set(nodes)
    tensors = [node for node in nodes if isinstance(node.meta.get("val"), torch.Tensor)]
    leaving = [node for node in tensors if any(user not in inside for user in node.users)]
    if not leaving:
        return None
    parents = {node.args[0] for node in leaving} if all("getitem" in str(node.target) for node in leaving) else set()
    return leaving[0] if len(parents) == 1 else leaving[-1]


def _entering(nodes: list[fx.Node], symbols: frozenset[str]) -> fx.Node | None:
    """The first real value with a batch axis that the call reads from outside."""
    inside = set(nodes)
    for node in nodes:
        for source in node.all_input_nodes:
            if source not in inside and source.op != "get_attr" and batch_axis(source, symbols) is not None:
                return source
    return None
