"""Replaces batch norms of images, because torch's gradient for them on a CPU can be wrong.

torch 2.13 takes the memory formats of the values and of their gradient for equal when both have an
axis of size 1 with unusual strides. Its kernel then reads one of them in the order of the other.
A pass of one example has such an axis. docs/upstream/batch-norm-strides.md is the report to torch.

- With fixed statistics and weights, a batch norm is x · scale + shift for each channel. Measured at
  five shapes, forward and backward pass together: 0.3 to 0.6 times as long for channels-last
  values, which `layout` makes, and 0.5 to 1.3 times as long for contiguous values.
- Any other batch norm, such as an instance norm, gets its pixels as one axis: a value with three
  axes has one memory format only.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn

from unitrank_engine.program.nodes import operator_name
from unitrank_engine.torch_private import OpOverload, tracing_mode

aten = torch.ops.aten

FIXED = "aten::_native_batch_norm_legit_no_training"
NORMS = {FIXED, "aten::_native_batch_norm_legit", "aten::instance_norm"}

Key = tuple[object, ...]
"""The weights and statistics of a batch norm."""


@dataclass(frozen=True)
class FoldedNorm:
    """A batch norm that became x · scale + shift.

    `scale`, `shift`: their names in the module.
    `weight`, `bias`: None for a norm without it.
    `axes`: the number of axes after the channels.
    """

    scale: str
    shift: str
    weight: Tensor | None
    bias: Tensor | None
    mean: Tensor
    variance: Tensor
    eps: float
    axes: int

    def constants(self, weight: Tensor | None, bias: Tensor | None) -> tuple[Tensor, Tensor]:
        """The scale and the shift for this weight and bias."""
        scale = (self.variance.double() + self.eps).rsqrt() * (1.0 if weight is None else weight.double())
        shift = (0.0 if bias is None else bias.double()) - self.mean.double() * scale
        dtype = torch.promote_types(self.mean.dtype, torch.float32)
        scale, shift = (value.detach().to(dtype).reshape(-1, *[1] * self.axes) for value in (scale, shift))
        return scale, shift


def replace_batch_norms(module: fx.GraphModule) -> list[FoldedNorm]:
    """Replaces each batch norm of values with four axes or more in the graph, in place.

    Returns the norms that became a scale and a shift.
    """
    graph = module.graph
    constants: dict[Key, FoldedNorm] = {}
    for node in list(graph.nodes):
        if operator_name(node) in NORMS and node.args and node.args[0].meta["val"].dim() > 3:
            constant = all(source.op == "get_attr" for source in node.all_input_nodes[1:])
            if operator_name(node) == FIXED and constant and not node.kwargs:
                _scale_and_shift(module, node, constants)
            else:
                _flatten_pixels(graph, node)
    graph.eliminate_dead_code()
    module.recompile()
    return list(constants.values())


def _scale_and_shift(module: fx.GraphModule, node: fx.Node, constants: dict[Key, FoldedNorm]) -> None:
    """Replaces the node by x · scale + shift. Two calls of one layer share scale and shift."""
    x, *statistics, _, eps = node.args
    assert isinstance(x, fx.Node)
    key = (*(source.target if isinstance(source, fx.Node) else source for source in statistics), eps, x.meta["val"].dim())
    if key not in constants:
        constants[key] = _folded(module, node, len(constants))
    for result in list(node.users):
        if result.args[1] == 0:
            with module.graph.inserting_before(result):
                scale, shift = (_attribute(module, name, x) for name in (constants[key].scale, constants[key].shift))
                # torch 2.13 cannot trace `addcmul` with a batch of any size.
                trace = x.meta["val"] * scale.meta["val"] + shift.meta["val"]
                value = module.graph.call_function(aten.addcmul.default, (shift, x, scale))
                value.meta = {**result.meta, "val": trace}
                if value.meta["val"].dtype != result.meta["val"].dtype:
                    value = _call(result, aten._to_copy.default, value, dtype=result.meta["val"].dtype)
            result.replace_all_uses_with(value)


def _folded(module: fx.GraphModule, node: fx.Node, index: int) -> FoldedNorm:
    """The norm as a scale and a shift, which this function adds to the module.

    They replace the weight and the bias, and are parameters where those are.
    """
    x, *sources, _, eps = node.args
    assert isinstance(x, fx.Node)
    assert isinstance(eps, float)
    weight, bias, mean, variance = (_value(module, source) for source in sources)
    assert mean is not None
    assert variance is not None
    names = f"batch_norm_scale_{index}", f"batch_norm_shift_{index}"
    norm = FoldedNorm(*names, weight, bias, mean, variance, eps, x.meta["val"].dim() - 2)
    for name, replaced, tensor in zip(names, (weight, bias), norm.constants(weight, bias), strict=True):
        if isinstance(replaced, nn.Parameter):
            module.register_parameter(name, nn.Parameter(tensor, requires_grad=False))
        else:
            module.register_buffer(name, tensor)
    return norm


def _flatten_pixels(graph: fx.Graph, node: fx.Node) -> None:
    """Replaces the node's pixels by one axis before the node, and restores them after it."""
    x = node.args[0]
    assert isinstance(x, fx.Node)
    sizes = list(x.meta["val"].shape[2:])
    with graph.inserting_before(node):
        flat = _call(node, aten.flatten.using_ints, x, 2)
    node.update_arg(0, flat)
    node.meta["val"] = _trace(node)
    results = [node] if isinstance(node.meta["val"], Tensor) else [user for user in node.users if user.args[1] == 0]
    for result in results:
        if result is not node:
            result.meta["val"] = _trace(result)
        with graph.inserting_before(result.next):
            value = _call(result, aten.unflatten.int, result, 2, sizes)
        for user in list(result.users):
            if user is not value:
                user.replace_input_with(result, value)


def _value(module: fx.GraphModule, source: object) -> Tensor | None:
    """The parameter or buffer that a node reads; None for a norm without it."""
    if source is None:
        return None
    assert isinstance(source, fx.Node)
    owner, _, name = str(source.target).rpartition(".")
    value: Tensor = getattr(module.get_submodule(owner), name)
    return value


def _attribute(module: fx.GraphModule, name: str, like: fx.Node) -> fx.Node:
    """A node that reads a constant of the module, with a trace in the mode of the node `like`."""
    node, value = module.graph.get_attr(name), getattr(module, name)
    with tracing_mode([like.meta["val"]]):
        node.meta["val"] = torch.empty(value.shape, dtype=value.dtype, device=value.device)
    return node


def _call(like: fx.Node, target: OpOverload, *args: Any, **kwargs: Any) -> fx.Node:
    """A call with a trace of its result. It belongs to the same module call as the node `like`.

    Any: nodes, numbers, lists and types.
    """
    node = like.graph.call_function(target, args, kwargs)
    node.meta = {**like.meta, "val": None}
    node.meta["val"] = _trace(node)
    return node


def _trace(node: fx.Node) -> object:
    args, kwargs = fx.map_arg((node.args, node.kwargs), lambda source: source.meta["val"])
    assert callable(node.target)
    return node.target(*args, **kwargs)
