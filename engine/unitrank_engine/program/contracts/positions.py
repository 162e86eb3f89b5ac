"""Checks the values of integer tensors that operators use as positions in another tensor.

A kernel that uses a position without a check reads or writes outside the tensor. The check is a
node of the graph, in front of the operator, and runs with it each time. A tensor that the archive
holds never changes, and is checked once.

Measured on a CPU: a check of 6 positions takes 2.4 µs, of 100 000 positions 28 µs.
"""

import operator
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import reduce
from typing import Any

import torch
from torch import Tensor, fx

from unitrank_engine.errors import EngineError
from unitrank_engine.program.contracts.finite import FINITE, finite
from unitrank_engine.program.contracts.invented import is_tolerated, laid_out, unrepeated
from unitrank_engine.torch_private import argument_names

aten = torch.ops.aten


@dataclass(frozen=True)
class _Rule:
    """The arguments of an operator, by name.

    `positions`: the integer tensor. `table`: the tensor that it holds positions of.
    `axis`: the argument with the axis of the table, or the axis itself. None, and an argument that
    is None, mean all elements of the table.
    `negative`: whether -1 means the last position.
    """

    positions: str
    table: str
    axis: str | int | None = "dim"
    negative: bool = False


_BY_INDEX = _Rule("index", "self")
RULES: dict[object, _Rule] = {
    aten.embedding.default: _Rule("indices", "weight", 0),
    **dict.fromkeys(
        (
            aten.gather.default,
            aten.index_select.default,
            aten.index_add.default,
            aten.index_copy.default,
            aten.scatter.src,
            aten.scatter.value,
            aten.scatter_add.default,
            aten.scatter_reduce.two,
            aten.index_reduce.default,
        ),
        _BY_INDEX,
    ),
    aten.index_fill.int_Scalar: _Rule("index", "self", negative=True),
    aten.index_fill.int_Tensor: _Rule("index", "self", negative=True),
    aten.take.default: _Rule("index", "self", None, negative=True),
    aten.take_along_dim.default: _Rule("indices", "self"),
    aten.searchsorted.Tensor: _Rule("sorter", "sorted_sequence", -1),
}
INDEXED = (aten.index.Tensor, aten.index_put.default)
"""Operators with a list of positions: one tensor, or None, for each axis of `self`."""

_MASKS = (torch.bool, torch.uint8)


def check_positions(module: fx.GraphModule) -> None:
    """Puts a check in front of each operator of the graph that uses positions.

    Also puts a check in front of each operator that needs finite numbers.

    Raises EngineError `weights_refused` when positions that the archive holds are outside the
    table.
    """
    for node in list(module.graph.nodes):
        names = argument_names(node.target) if node.op == "call_function" and hasattr(node.target, "_schema") else []
        arguments = dict(zip(names, node.args, strict=False)) | node.kwargs
        if node.target in RULES:
            rule = RULES[node.target]
            if isinstance(arguments.get(rule.positions), fx.Node):
                size = _size(node, arguments, rule)
                checked = _checked(module, node, arguments[rule.positions], size, negative=rule.negative)
                _replace(node, names, rule.positions, checked)
        elif node.target in INDEXED:
            _replace(node, names, "indices", list(_checked_list(module, node, arguments)))
        elif node.target is aten.one_hot.default and arguments.get("num_classes", -1) != -1:
            _replace(node, names, "self", _checked(module, node, arguments["self"], arguments["num_classes"]))
        elif node.target is aten.bucketize.Tensor and not arguments["boundaries"].meta["val"].is_floating_point():
            _replace(node, names, "boundaries", _ordered(module, node, arguments["boundaries"]))
        for name in FINITE.get(node.target, ()):
            with module.graph.inserting_before(node):
                check = _call(module.graph, node, finite, (arguments[name], str(node.target)), arguments[name])
            _replace(node, names, name, check)
    module.recompile()


def positions(values: Tensor, smallest: int, size: int, user: str) -> Tensor:
    """`values`, unchanged.

    `user`: the operator that uses them.

    Raises IndexError for positions that are not whole numbers, and for a position below `smallest`
    or not below `size`; among `invented_values`, the nearest position takes its place.
    """
    if values.is_floating_point() or values.is_complex():
        raise IndexError(f"{user} gets positions of the type {values.dtype}; expected whole numbers")
    if values.numel():
        one = unrepeated(values)
        low, high = (int(value) for value in torch.aminmax(one))
        if low < smallest or high >= size:
            fault = f"{user} gets the positions {low} to {high} of {size}"
            if size < 1 or not is_tolerated(fault):
                raise IndexError(f"index out of range in self: {fault}")
            return laid_out(one.clamp(smallest, size - 1), one).expand(values.shape)
    return values


def ordered(values: Tensor) -> Tensor:
    """`values`, unchanged. Raises IndexError unless each value is at least the one before it."""
    if values.shape[-1] > 1 and bool((values[..., 1:] < values[..., :-1]).any()):
        fault = "boundaries or offsets go back; expected numbers in ascending order"
        if not is_tolerated(fault):
            raise IndexError(f"index out of range in self: {fault}")
        return laid_out(values.sort().values, values)
    return values


def _checked_list(module: fx.GraphModule, node: fx.Node, arguments: Mapping[str, Any]) -> Iterator[fx.Node | None]:
    """The tensors of positions, each checked.

    A mask holds no positions, and covers one axis for each of its own.
    """
    axis, table = 0, arguments["self"]
    for given in arguments["indices"]:
        if given is None:
            yield None
            axis += 1
        elif given.meta["val"].dtype in _MASKS:
            yield given
            axis += given.meta["val"].dim()
        else:
            yield _checked(module, node, given, _extent(node, table, axis), negative=True)
            axis += 1


def _checked(module: fx.GraphModule, node: fx.Node, values: fx.Node, size: Any, *, negative: bool = False) -> fx.Node:
    """The node of the positions behind their check. `size`: a number or a node."""
    constant = _constant(module, values)
    if constant is not None and isinstance(size, int):
        try:
            positions(constant, -size if negative else 0, size, str(node.target))
        except IndexError as error:
            raise _refusal(node, error) from error
        return values
    with module.graph.inserting_before(node):
        smallest = _negated(module.graph, node, size) if negative else 0
        return _call(module.graph, node, positions, (values, smallest, size, str(node.target)), values)


def _negated(graph: fx.Graph, node: fx.Node, size: Any) -> Any:
    if isinstance(size, int):
        return -size
    # A split of the graph can lie between this number and its use, and needs its trace.
    smallest = graph.call_function(operator.neg, (size,))
    smallest.meta = dict(node.meta) | {"val": -size.meta["val"]}
    return smallest


def _ordered(module: fx.GraphModule, node: fx.Node, values: fx.Node) -> fx.Node:
    constant = _constant(module, values)
    if constant is None:
        with module.graph.inserting_before(node):
            return _call(module.graph, node, ordered, (values,), values)
    try:
        ordered(constant)
    except IndexError as error:
        raise _refusal(node, error) from error
    return values


def _call(graph: fx.Graph, node: fx.Node, function: Any, arguments: tuple[Any, ...], values: fx.Node) -> fx.Node:
    """A call in the layer of `node` whose result is that of `values`."""
    check = graph.call_function(function, arguments)
    check.meta = dict(node.meta) | {"val": values.meta["val"]}
    return check


def _constant(module: fx.GraphModule, node: fx.Node) -> Tensor | None:
    """The tensor of the archive that the node reads, or a cast of it."""
    if node.target is aten._to_copy.default and isinstance(node.args[0], fx.Node):
        value = _constant(module, node.args[0])
        return None if value is None else value.to(node.meta["val"].dtype)
    if node.op != "get_attr":
        return None
    held: Any = reduce(getattr, str(node.target).split("."), module)
    return held if isinstance(held, Tensor) else None


def _size(node: fx.Node, arguments: Mapping[str, Any], rule: _Rule) -> Any:
    """The number of positions in the table: a number, or a node where it depends on the batch."""
    axis = arguments.get(rule.axis) if isinstance(rule.axis, str) else rule.axis
    return _extent(node, arguments[rule.table], axis)


def _extent(node: fx.Node, table: fx.Node, axis: int | None) -> Any:
    trace = table.meta["val"]
    # A number has the axes 0 and -1 for torch. The traces of some operators do not check the axis.
    axes = max(trace.dim(), 1)
    if axis is not None and not -axes <= axis < axes:
        raise EngineError(
            "program_refused",
            f"{node.name} ({node.target}): the axis is {axis}; expected one of the {trace.dim()} axes of the table",
        )
    size = trace.numel() if axis is None else trace.shape[axis] if trace.dim() else 1
    if isinstance(size, int):
        return size
    target, given = (aten.sym_numel.default, (table,)) if axis is None else (aten.sym_size.int, (table, axis))
    with node.graph.inserting_before(node):
        extent = node.graph.call_function(target, given)
    extent.meta = dict(node.meta) | {"val": size}
    return extent


def _replace(node: fx.Node, names: list[str], name: str, value: Any) -> None:
    if name in node.kwargs:
        node.kwargs = dict(node.kwargs) | {name: value}
    else:
        node.update_arg(names.index(name), value)


def _refusal(node: fx.Node, error: IndexError) -> EngineError:
    return EngineError("weights_refused", f"{node.name}: {error}; expected positions inside the tensor that they are used on")
