"""Finds the axis of an output that counts its classes.

The last convolution or dense layer before the output makes the classes: a convolution counts them
on axis 1, a dense layer on its last axis. The operators after it move this axis.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import fx

from unitrank_engine.program.nodes import operator_name

FIRST = ("aten::conv", "aten::_convolution")
LAST = ("aten::linear", "aten::addmm")
RESHAPES = frozenset({"aten::reshape", "aten::view", "aten::flatten", "aten::unflatten"})
RESIZES = ("aten::upsample", "aten::avg_pool", "aten::max_pool", "aten::adaptive", "aten::slice", "aten::constant_pad", "aten::pad")
"""Operators that change the size of other axes only."""


def class_axis(output: fx.Node) -> int | None:
    """The axis of the output that counts its classes; None if the graph does not tell.

    Axis 0 is the batch. An output with one value for each example has no such axis.
    """
    shape = output.meta["val"].shape
    if len(shape) <= 2:
        return 1 if len(shape) == 2 and shape[1] != 1 else None
    axes: dict[fx.Node, int] = {}
    for node in output.graph.nodes:
        axis = _axis_of(node, axes)
        if axis is not None:
            axes[node] = axis
    return axes.get(output) or None


def _axis_of(node: fx.Node, axes: Mapping[fx.Node, int]) -> int | None:
    """The axis of the classes in this value, as if its last layer made the classes.

    `axes`: the axes of earlier values.
    """
    name, shape = operator_name(node), _shape(node)
    if not shape or node.op != "call_function":
        return None
    if name.startswith(FIRST):
        return 1
    if name.startswith(LAST):
        return len(shape) - 1
    for source in node.all_input_nodes:
        before = _shape(source)
        if source in axes and (before == shape or name in MOVES or name in RESHAPES or name.startswith(RESIZES)):
            return _moved(node, name, axes[source], before, shape)
    return None


def _moved(node: fx.Node, name: str, axis: int, before: Sequence[Any], shape: Sequence[Any]) -> int | None:
    if name in MOVES:
        return MOVES[name](node, axis, len(before))
    if name in RESHAPES:
        return _reshaped(axis, before, shape)
    return axis if len(before) == len(shape) and before[axis] == shape[axis] else None


def _reshaped(axis: int, before: Sequence[Any], shape: Sequence[Any]) -> int | None:
    """The axis of the same size with the same number of values behind it, or before it."""
    for index, size in enumerate(shape):
        if size == before[axis] and (_same(before[axis + 1 :], shape[index + 1 :]) or _same(before[:axis], shape[:index])):
            return index
    return None


def _same(first: Sequence[Any], second: Sequence[Any]) -> bool:
    """Whether two lists of sizes have equal products; symbols must be equal one by one."""
    counts = []
    for sizes in (first, second):
        fixed, symbols = 1, []
        for size in sizes:
            if isinstance(size, int):
                fixed *= size
            else:
                symbols.append(size)
        counts.append((fixed, symbols))
    return bool(counts[0] == counts[1])


def _permuted(node: fx.Node, axis: int, rank: int) -> int | None:
    dims = node.args[1]
    assert isinstance(dims, list | tuple)
    return [int(str(dim)) % rank for dim in dims].index(axis)


def _transposed(node: fx.Node, axis: int, rank: int) -> int | None:
    first, second = (int(str(dim)) % rank for dim in node.args[1:3])
    return {first: second, second: first}.get(axis, axis)


def _selected(node: fx.Node, axis: int, rank: int) -> int | None:
    dim = int(str(node.args[1])) % rank
    return None if dim == axis else axis - (dim < axis)


def _squeezed(node: fx.Node, axis: int, rank: int) -> int | None:
    if len(node.args) < 2:
        # Without `dim`, the axes that are removed depend on the sizes.
        return None
    given = node.args[1]
    dims = {int(str(dim)) % rank for dim in (given if isinstance(given, list | tuple) else [given])}
    return None if axis in dims else axis - sum(dim < axis for dim in dims)


def _unsqueezed(node: fx.Node, axis: int, rank: int) -> int | None:
    return axis + (int(str(node.args[1])) % (rank + 1) <= axis)


MOVES: dict[str, Callable[[fx.Node, int, int], int | None]] = {
    "aten::permute": _permuted,
    "aten::transpose": _transposed,
    "aten::select": _selected,
    "aten::squeeze": _squeezed,
    "aten::unsqueeze": _unsqueezed,
}
"""Operator → the axis after it, from the node, the axis before it and the number of axes."""


def _shape(node: fx.Node) -> list[Any]:
    """The sizes of a real tensor, with symbols as text; empty for another value."""
    value = node.meta.get("val")
    if not isinstance(value, torch.Tensor) or not value.dtype.is_floating_point:
        return []
    return [str(size) if isinstance(size, torch.SymInt) else int(size) for size in value.shape]
