"""Attention heads: their number, and the places whose channels are the heads one after another.

A graph shows heads where a reshape cuts the channels into two axes before a product of attention,
or joins two axes after it. The module names their number too, where it is at hand.
"""

from collections.abc import Callable, Iterable
from operator import getitem

import torch
from torch import fx, nn

from unitrank_engine.program import Place
from unitrank_engine.program.nodes import operator_name

NAMES = ("num_heads", "num_attention_heads", "n_heads", "n_head", "nhead", "heads", "attention_heads")
"""Attributes by which modules name the number of their heads."""
MOST = 4096
PRODUCTS = ("scaled_dot_product", "_scaled_dot_product", "matmul", "bmm", "baddbmm", "einsum")
"""Beginnings of the names of the operators that multiply queries, keys and values."""
EQUAL = {"dropout", "clone", "contiguous", "alias", "detach", "_to_copy", "to", "lift_fresh_copy"}
"""Operators that keep every value at its place."""
RESHAPES = {"view", "reshape", "_unsafe_view", "unflatten", "flatten"}
BETWEEN = EQUAL | RESHAPES | {
    "transpose", "permute", "swapaxes", "expand", "unsqueeze", "squeeze", "select", "unbind", "slice", "cat", "mul", "div", "add",
    "sub", "neg", "getitem", "split", "split_with_sizes", "chunk",
}  # fmt: skip
"""Operators between a reshape and a product of attention: scaling, rotary positions, layouts."""
MOST_STEPS = 64
"""Nodes between a place and its product, at most."""


def named_heads(module: nn.Module) -> dict[str, int]:
    """Path of a module → the number of heads that its attributes name."""
    named = {}
    for path, inner in module.named_modules():
        holders = [inner]
        # Every module of a Transformers model has the configuration of the whole model.
        if "attention" in type(inner).__name__.lower():
            holders.append(getattr(inner, "config", None))
        counts = [getattr(holder, name, None) for holder in holders for name in NAMES]
        heads = next((count for count in counts if type(count) is int and 1 < count <= MOST), None)
        if path and heads is not None:
            named[path] = heads
    return named


def heads_of(place: Place) -> int | None:
    """The number of heads that the channels of the place hold, by the graph; None without heads."""
    if place.channel_axis is None:
        return None
    axis = place.channel_axis + (place.channel_axis >= place.batch_axis)
    return _split(place.node, axis) or _joined(place.node, axis)


def _split(node: fx.Node, axis: int) -> int | None:
    """The heads into which a reshape behind the node cuts the axis, before a product."""
    equal = [node, *(each for each in _reached(node.users, _users, EQUAL) if _name(each) in EQUAL)]
    for before, after in ((each, user) for each in equal for user in each.users):
        heads = _cut(before, after, axis) if _name(after) in RESHAPES else None
        apart = any(_takes_apart(user, axis) for user in after.users)
        if heads and not apart and any(map(_is_product, _reached(after.users, _users, BETWEEN))):
            return heads
    return None


def _takes_apart(node: fx.Node, axis: int) -> bool:
    """Whether the node separates the indices of the axis, as queries, keys and values in one."""
    place = {"unbind": 1, "select": 1, "split": 2, "split_with_sizes": 2, "chunk": 2}.get(_name(node))
    if place is None:
        return False
    dimension = node.args[place] if len(node.args) > place else node.kwargs.get("dim", 0)
    return isinstance(dimension, int) and dimension % len(_shape(node.all_input_nodes[0])) == axis


def _joined(node: fx.Node, axis: int) -> int | None:
    """The heads that a reshape before the node joined to the axis, after a product."""
    for after in _reached([node], _sources, EQUAL):
        heads = _cut(after.all_input_nodes[0], after, axis, joins=True) if _name(after) in RESHAPES else None
        if heads and any(map(_is_product, _reached(after.all_input_nodes, _sources, BETWEEN))):
            return heads
    return None


def _cut(before: fx.Node, after: fx.Node, axis: int, *, joins: bool = False) -> int | None:
    """The heads where a reshape cuts the axis into heads and their channels, or joins these."""
    whole, parts = (_shape(after), _shape(before)) if joins else (_shape(before), _shape(after))
    if len(parts) != len(whole) + 1 or None in (whole[axis], *parts[axis : axis + 2]):
        return None
    same = whole[:axis] == parts[:axis] and whole[axis + 1 :] == parts[axis + 2 :]
    heads = parts[axis]
    return heads if same and heads is not None and 1 < heads <= MOST else None


def _shape(node: fx.Node) -> list[int | None]:
    """The sizes of the axes; None for the batch and sizes that follow from it."""
    value = node.meta.get("val")
    return [size if isinstance(size, int) else None for size in value.shape] if isinstance(value, torch.Tensor) else []


def _reached(first: Iterable[fx.Node], neighbours: Callable[[fx.Node], Iterable[fx.Node]], names: set[str]) -> list[fx.Node]:
    """The first nodes, and the nodes that follow them through operators with these names."""
    reached: dict[fx.Node, None] = {}
    waiting = list(first)
    while waiting and len(reached) < MOST_STEPS:
        node = waiting.pop(0)
        if node not in reached:
            reached[node] = None
            waiting += neighbours(node) if _name(node) in names else []
    return list(reached)


def _users(node: fx.Node) -> Iterable[fx.Node]:
    return node.users


def _sources(node: fx.Node) -> Iterable[fx.Node]:
    return node.all_input_nodes


def _is_product(node: fx.Node) -> bool:
    return _name(node).startswith(PRODUCTS)


def _name(node: fx.Node) -> str:
    if node.op != "call_function":
        return ""
    return "getitem" if node.target is getitem else operator_name(node).removeprefix("aten::")
