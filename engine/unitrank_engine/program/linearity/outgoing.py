"""Finds the next linear operations after a place, and the size of their weights for each unit.

Between the place and an operation, values may be changed one by one, normalised, pooled or moved.
A unit's outgoing weights are those that multiply a value which the unit reaches.
"""

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from operator import getitem

import torch
from jaxtyping import Float
from torch import Tensor, fx

from unitrank_engine.program.linearity.affine import MOVING
from unitrank_engine.program.nodes import operator_name
from unitrank_engine.program.places import Place, batch_axis
from unitrank_engine.program.program import Program
from unitrank_engine.program.split import Split
from unitrank_engine.program.subgraphs import extract, sources_of
from unitrank_engine.torch_private import OpOverload

CONVOLUTION = re.compile(r"aten::conv[123]d$")
TRANSPOSED = re.compile(r"aten::conv_transpose[123]d$")
DENSE = re.compile(r"aten::(linear|matmul|mm|addmm)$")
POOLING = re.compile(r"aten::(adaptive_)?(max|avg)_pool[123]d(_with_indices)?$|aten::mean$")
NORMS = re.compile(r"aten::(_native_batch_norm_legit_no_training|(native_)?(batch|layer|group|instance|rms)_norm)$")
UNTAGGED = re.compile(r"aten::(hardswish|prelu|log_sigmoid|where|masked_fill)$")
"""Elementwise operators that do not have torch's tag `pointwise`."""


@dataclass(frozen=True)
class NextLinear:
    """A linear operation that reads a place's value, changed or not.

    `node`: the operation.
    `source`: the value that the operation multiplies.
    `weight`: its weights.
    """

    node: fx.Node
    source: fx.Node
    weight: fx.Node

    def squares(self, program: Program) -> Float[Tensor, " features"]:
        """Return the sum of the squares of the weights of each feature of the source."""
        if self.weight not in program.constants:
            program.constants[self.weight] = extract(program.module, [self.weight], inputs=False)
        (weight,) = program.constants[self.weight]()
        name, squares = operator_name(self.node), (self.factor * weight.detach().double()).square()
        if CONVOLUTION.match(name):
            groups = self.node.args[6] if len(self.node.args) > 6 else self.node.kwargs.get("groups", 1)
            assert isinstance(groups, int)
            return torch.as_tensor(squares.unflatten(0, (groups, -1)).flatten(3).sum((1, 3)).flatten())
        if TRANSPOSED.match(name):
            return torch.as_tensor(squares.flatten(1).sum(1))
        return torch.as_tensor(squares.sum(0 if name == "aten::linear" else 1))

    @property
    def factor(self) -> float:
        """The number that multiplies the weights: `alpha` of an addition."""
        return float(self.node.kwargs.get("alpha", 1))  # type: ignore[arg-type]  # A node's values have no type.

    @property
    def features_axis(self) -> int:
        """The axis of the source, with the batch, that counts the features."""
        return -1 if DENSE.match(operator_name(self.node)) else 1


def next_linear(program: Program, place: Place) -> list[NextLinear]:
    """Return all linear operations that read the place's value, changed or not.

    Their order is that of execution.
    """
    reached, operations = {place.node}, list[NextLinear]()
    for node in program.module.graph.nodes:
        linear = linear_operation(node, reached)
        if linear is not None:
            operations.append(linear)
        elif not reached.isdisjoint(node.all_input_nodes) and _keeps_units(node, reached):
            reached.add(node)
    return operations


def linear_operation(node: fx.Node, sources: Collection[fx.Node]) -> NextLinear | None:
    """Return the operation of the node if it multiplies one of the sources by constant weights."""
    name, arguments = operator_name(node), node.args
    if not (CONVOLUTION.match(name) or TRANSPOSED.match(name) or DENSE.match(name)):
        return None
    source, weight = arguments[1:3] if name == "aten::addmm" else arguments[:2]
    if not isinstance(source, fx.Node) or not isinstance(weight, fx.Node) or source not in sources:
        return None
    size, is_constant = len(_shape(weight) or ()), all(each.op != "placeholder" for each in sources_of(weight))
    return NextLinear(node, source, weight) if is_constant and (size == 2 or not DENSE.match(name)) else None


def reached_features(
    program: Program, place: Place, linear: NextLinear, units: Float[Tensor, "units *place"], example: tuple[Tensor, ...]
) -> Float[Tensor, "units features"]:
    """Return 1 for each feature that each unit reaches, else 0.

    `units`: 1 for the elements of each unit, else 0.
    `example`: the inputs of one example.
    """
    key = (place.node, linear.source)
    if key not in program.moves:
        program.moves[key] = Split(program.module, place, linear.source, program.symbols, program.costs)
        _skip_changes(program.moves[key].behind)
    split = program.moves[key]
    with torch.no_grad():
        _, live = split.head(example)
        values = split.tail(units, live)
    axis = batch_axis(linear.source, program.symbols)
    assert axis is not None
    rows = values.movedim(axis, 0).movedim(linear.features_axis, -1)
    return (rows.reshape(len(units), -1, rows.shape[-1]) > 0).any(1).double()


def _keeps_units(node: fx.Node, reached: set[fx.Node]) -> bool:
    """Return whether each element of the value comes from few units, in the same order."""
    name = operator_name(node)
    if MOVING.match(name) or POOLING.match(name) or node.target is getitem:
        return True
    shape = _shape(node)
    return _changes(node) and any(_shape(source) == shape for source in node.all_input_nodes if source in reached)


def _changes(node: fx.Node) -> bool:
    """Return whether the operator changes or normalises values, and keeps their places."""
    target, name = node.target, operator_name(node)
    pointwise = isinstance(target, OpOverload) and torch.Tag.pointwise in target.tags
    return bool(pointwise or UNTAGGED.match(name) or NORMS.match(name))


def _skip_changes(graph_module: fx.GraphModule) -> None:
    """Let each operator that changes values pass them on; several values are added up.

    Values that come from operators which mix units do not count.
    """
    graph, reached = graph_module.graph, set[fx.Node]()
    for node in list(_calls(graph)):
        first = next(each for each in graph.nodes if each.op == "placeholder")
        reached = reached or {first}
        sources = [source for source in node.all_input_nodes if source in reached]
        if not sources or not _keeps_units(node, reached):
            continue
        reached.add(node)
        if not _changes(node) or MOVING.match(operator_name(node)):
            continue
        kept = [source for source in sources if _shape(source) == _shape(node)]
        value = kept[0]
        for other in kept[1:]:
            with graph.inserting_before(node):
                value = graph.call_function(torch.ops.aten.add.Tensor, (value, other))
                value.meta = dict(node.meta)
                reached.add(value)
        node.replace_all_uses_with(value)
        graph.erase_node(node)
    graph.eliminate_dead_code()
    graph_module.recompile()


def _calls(graph: fx.Graph) -> Iterator[fx.Node]:
    return (node for node in graph.nodes if node.op == "call_function")


def _shape(node: fx.Node) -> tuple[str, ...] | None:
    value = node.meta.get("val")
    return tuple(map(str, value.shape)) if isinstance(value, Tensor) else None
