"""Finds the axis of each value that counts its channels.

The axis is followed through the graph in order of execution. A convolution, a dense layer or an
embedding makes channels. Other operators keep the axis, move it, split it or lose it.

A split axis, such as that of attention heads, is several axes until a reshape joins them. The
answer is None where the channels are on several axes, where they are joined with pixels or time
steps, and where they were added up.
"""

from collections.abc import Callable, Iterable
from math import prod
from typing import Any

import torch
from torch import fx

from unitrank_engine.program.nodes import operator_name
from unitrank_engine.torch_private import OpOverload, argument_names, expression_of

Axes = dict[fx.Node, frozenset[int]]
"""Node → the axes of its channels, counted with the batch; empty where they are not known."""

UNKNOWN = frozenset[int]()
ROWS = 1_000_003
"""A number of rows, to compute with sizes that depend on it."""

# The operators that make channels behind the batch, or on the last axis.
FIRST = ("conv", "_convolution", "batch_norm", "_native_batch_norm", "native_batch_norm", "group_norm", "native_group_norm",
         "instance_norm", "channel_shuffle", "pixel_")  # fmt: skip
LAST = ("linear", "addmm", "mm", "embedding", "lstm", "gru", "rnn")


def channel_axes(graph: fx.Graph) -> Axes:
    """The axes of the channels of each value. Operators with several results have one entry."""
    axes: Axes = {}
    for node in graph.nodes:
        axes[node] = _axes(node, axes)
    return axes


def channel_axis(node: fx.Node, axes: Axes, batch: int) -> int | None:
    """The axis of the channels, as an index of the shape without the batch.

    A value with one axis besides the batch has its channels there. Where the operators before the
    value do not show the axis, a convolution or a dense layer that reads the value does.

    `batch`: the axis of the batch.
    """
    if _rank(node) <= 2:
        return 0
    channels = axes[node] if len(axes[node]) == 1 else _as_read(node)
    axis = next(iter(channels), None)
    return None if axis is None or axis == batch else axis - (axis > batch)


def _axes(node: fx.Node, axes: Axes) -> frozenset[int]:
    if node.op == "placeholder":
        return _as_read(node) or frozenset({1 if _rank(node) >= 4 else _rank(node) - 1})
    if node.op != "call_function" or not _rank(node) or not _sources(node):
        return UNKNOWN
    name = operator_name(node).removeprefix("aten::")
    if name.startswith(FIRST):
        return frozenset({1})
    if name.startswith(LAST):
        return frozenset({_rank(node) - 1})
    return RULES.get(name, _same)(node, axes)


def _as_read(node: fx.Node) -> frozenset[int]:
    """The axis that a convolution or a dense layer reads as channels.

    Operators that keep the shape may come before that layer.
    """
    reached, waiting = {node}, [node]
    while waiting:
        for user in waiting.pop(0).users:
            name = operator_name(user).removeprefix("aten::")
            if name.startswith("conv") and user.args[0] in reached:
                return frozenset({1})
            if name.startswith("linear") and user.args[0] in reached:
                return frozenset({_rank(node) - 1})
            if (
                name
                and name not in RULES
                and not name.startswith(FIRST + LAST)
                and _sizes(user) == _sizes(node)
                and user not in reached
            ):
                reached.add(user)
                waiting.append(user)
    return UNKNOWN


def _same(node: fx.Node, axes: Axes) -> frozenset[int]:
    """The axes of the first argument that fits the result, counted from the right."""
    rank, sizes, rest = _rank(node), _sizes(node), UNKNOWN
    for source in _sources(node):
        aligned = frozenset(axis + rank - _rank(source) for axis in axes.get(source, UNKNOWN))
        if not aligned or min(aligned) < 0:
            continue
        if all(_sizes(source)[axis - rank + _rank(source)] == sizes[axis] for axis in aligned):
            return aligned
        rest = rest or (aligned if _rank(source) == rank else UNKNOWN)
    return rest


def _reordered(order: list[int], node: fx.Node, axes: Axes) -> frozenset[int]:
    """`order`: the old axis at each new axis."""
    return frozenset(order.index(axis) for axis in _of_first(node, axes))


def _permuted(node: fx.Node, axes: Axes) -> frozenset[int]:
    return _reordered([int(dim) % _rank(node) for dim in _arguments(node)["dims"]], node, axes)


def _transposed(node: fx.Node, axes: Axes) -> frozenset[int]:
    given, rank = _arguments(node), _rank(node)
    # `t` and `mT` exchange the last two axes.
    first, second = (
        int(given.get(name, given.get(f"axis{name[-1]}", default))) % rank for name, default in (("dim0", -2), ("dim1", -1))
    )
    order = list(range(rank))
    order[first], order[second] = second, first
    return _reordered(order, node, axes)


def _moved(node: fx.Node, axes: Axes) -> frozenset[int]:
    given, rank = _arguments(node), _rank(node)
    source, destination = ([int(dim) % rank for dim in _as_list(given[name])] for name in ("source", "destination"))
    moved = dict(zip(destination, source, strict=True))
    rest = iter([axis for axis in range(rank) if axis not in source])
    return _reordered([moved[axis] if axis in moved else next(rest) for axis in range(rank)], node, axes)


def _inserted(node: fx.Node, axes: Axes) -> frozenset[int]:
    dim = int(_arguments(node).get("dim", 0)) % _rank(node)
    channels = (axes.get(source, UNKNOWN) for source in _sources(node))
    return frozenset(axis + (dim <= axis) for axis in next(filter(None, channels), UNKNOWN))


def _removed(node: fx.Node, axes: Axes) -> frozenset[int]:
    """Axes that are reduced, selected, or squeezed where they have one value."""
    source, name = _sources(node)[0], operator_name(node)
    given, rank = _arguments(node), _rank(source)
    dims = given.get("dim", 0 if name.endswith(("select", "unbind")) else None)
    gone = {int(dim) % rank for dim in _as_list(dims)} if dims is not None and dims != [] else set(range(rank))
    if name.endswith("squeeze"):
        gone = {dim for dim in gone if _sizes(source)[dim] == "1"}
    left = axes.get(source, UNKNOWN) - gone
    return left if _rank(node) == rank else frozenset(axis - sum(dim < axis for dim in gone) for axis in left)


def _multiplied(node: fx.Node, axes: Axes) -> frozenset[int]:
    """A product has the columns of its second factor and the rows of its first.

    A constant factor makes new channels in place of those that it reads.
    """
    left, right = (source for source in node.args[-2:] if isinstance(source, fx.Node))
    last, shift = _rank(node) - 1, _rank(node) - _rank(right)
    if right.op == "get_attr":
        return frozenset({last})
    columns = frozenset(axis + shift for axis in axes.get(right, UNKNOWN))
    return columns if left.op == "get_attr" else columns - {last - 1}


def _attended(node: fx.Node, axes: Axes) -> frozenset[int]:
    """Attention's result has the axes of its values, its third argument."""
    values = node.args[2]
    return axes.get(values, UNKNOWN) if isinstance(values, fx.Node) else UNKNOWN


def _reshaped(node: fx.Node, axes: Axes) -> frozenset[int]:
    """Each group of axes that is split or joined; joined with other axes, the channels are lost."""
    source = _sources(node)[0]
    old, new = axes.get(source, UNKNOWN), set[int]()
    for before, after in _groups(_numbers(source), _numbers(node)):
        channels = [axis in old for axis in before]
        if any(channels) and not all(channels):
            return UNKNOWN
        new.update(after if any(channels) else ())
    return frozenset(new)


def _groups(before: list[int], after: list[int]) -> Iterable[tuple[list[int], list[int]]]:
    """The smallest groups of axes with the same number of values. Axes of size 1 are left out."""
    left, right = ([axis for axis, size in enumerate(sizes) if size != 1] for sizes in (before, after))
    while left and right:
        old, new = [left.pop(0)], [right.pop(0)]
        while (sizes := (prod(before[axis] for axis in old), prod(after[axis] for axis in new)))[0] != sizes[1]:
            if sizes[0] < sizes[1] and left:
                old.append(left.pop(0))
            elif right:
                new.append(right.pop(0))
            else:
                break
        yield old, new


def _item(node: fx.Node, axes: Axes) -> frozenset[int]:
    source = node.args[0]
    recurrent = isinstance(source, fx.Node) and operator_name(source).startswith(("aten::lstm", "aten::gru", "aten::rnn"))
    return frozenset({_rank(node) - 1}) if recurrent else _of_first(node, axes)


_REMOVING = (
    "mean sum amax amin max min var std median prod logsumexp linalg_vector_norm norm any all argmax argmin nansum "
    "select squeeze unbind std_mean var_mean"
)
RULES: dict[str, Callable[[fx.Node, Axes], frozenset[int]]] = {
    "permute": _permuted,
    **dict.fromkeys(("transpose", "t", "mT", "swapaxes", "swapdims", "numpy_T"), _transposed),
    **dict.fromkeys(("movedim", "moveaxis"), _moved),
    **dict.fromkeys(("reshape", "view", "flatten", "unflatten", "_unsafe_view", "ravel", "reshape_as", "view_as"), _reshaped),
    **dict.fromkeys(_REMOVING.split(), _removed),
    **dict.fromkeys(("matmul", "bmm", "baddbmm"), _multiplied),
    **dict.fromkeys(("unsqueeze", "stack"), _inserted),
    "scaled_dot_product_attention": _attended,
    "": _item,
}
"""Operator → the axes of its result's channels. Operators that are not listed keep the axes."""


def _arguments(node: fx.Node) -> dict[str, Any]:
    """The arguments by name. Any: nodes, numbers, lists."""
    assert isinstance(node.target, OpOverload)
    return dict(zip(argument_names(node.target), node.args, strict=False)) | dict(node.kwargs)


def _as_list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]


def _sources(node: fx.Node) -> list[fx.Node]:
    return [source for source in node.all_input_nodes if _shape(source)]


def _of_first(node: fx.Node, axes: Axes) -> frozenset[int]:
    return axes.get(node.all_input_nodes[0], UNKNOWN)


def _shape(node: fx.Node) -> list[int | torch.SymInt]:
    """The shape of the value, or of the first of several results."""
    value = node.meta.get("val")
    value = value[0] if isinstance(value, tuple | list) and value else value
    return list(value.shape) if isinstance(value, torch.Tensor) else []


def _sizes(node: fx.Node) -> list[str]:
    """As text, because comparing a symbolic size would turn the symbol into a number."""
    return [str(size) for size in _shape(node)]


def _numbers(node: fx.Node) -> list[int]:
    """The shape for a fixed number of rows."""
    expressions = [size if isinstance(size, int) else expression_of(size) for size in _shape(node)]
    return [each if isinstance(each, int) else int(each.subs(dict.fromkeys(each.free_symbols, ROWS))) for each in expressions]


def _rank(node: fx.Node) -> int:
    return len(_shape(node))
