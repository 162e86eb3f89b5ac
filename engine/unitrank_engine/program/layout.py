"""Keeps the channels of convolutions next to each other in memory, for speed on a CPU.

The convolution's result takes the layout of its weight, and later operators keep that layout. So
do the gradients, except behind a reshape. Values stay equal except for rounding.

Measured on the second convolution of the paper's network (132 rows, 2 threads): the forward pass
takes 0.53 ms instead of 0.88 ms, the backward pass to its input 0.84 ms instead of 1.06 ms.
"""

from typing import Any

import torch
from torch import Tensor, fx, nn

from unitrank_engine.program.nodes import is_real, operator_name
from unitrank_engine.program.outputs.class_axis import RESHAPES
from unitrank_engine.program.proof.checked_graph import CheckedGraph

CONVOLUTIONS = {"aten::conv2d", "aten::convolution"}
STRIDED = {"aten::as_strided", "aten::as_strided_scatter"}
"""Operators whose result depends on the memory layout of their argument."""


def lay_out_channels_last(module: fx.GraphModule) -> None:
    """Changes the weights of `module` in place.

    Nothing changes when an operator of the graph depends on the memory layout.
    """
    nodes = list(module.graph.nodes)
    if any(operator_name(node) in STRIDED for node in nodes):
        return
    for path in {_weight(node) for node in nodes if operator_name(node) in CONVOLUTIONS} - {""}:
        owner, _, name = path.rpartition(".")
        holder = module.get_submodule(owner)
        weight = getattr(holder, name)
        if isinstance(weight, nn.Parameter) and weight.dim() == 4:
            setattr(holder, name, nn.Parameter(_channels_last(weight.detach()), requires_grad=False))


def lay_out_gradients(module: CheckedGraph) -> CheckedGraph:
    """The module, in which the gradient of each reshaped image has the layout of the image.

    The backward pass of a reshape gives the gradient another layout. All earlier operators, up to
    the convolution, would then read two layouts at once.

    Measured on conductance for ten classes of the paper's network, after the first convolution: a
    job takes 4 to 6 % less time.
    """
    reshapes = [node for node in module.graph.nodes if _reshapes_image(node)]
    if not reshapes or all(operator_name(node) not in CONVOLUTIONS for node in module.graph.nodes):
        return module
    graph, copies = fx.Graph(), dict[fx.Node, fx.Node]()
    graph.output(graph.graph_copy(module.graph, copies))
    for reshape in (copies[node] for node in reshapes):
        image = reshape.all_input_nodes[0]
        with graph.inserting_before(reshape):
            alike = graph.call_function(alike_in_gradient, (image,))
        alike.meta = dict(image.meta)
        reshape.replace_input_with(image, alike)
    return CheckedGraph(module, graph)


def _reshapes_image(node: fx.Node) -> bool:
    return operator_name(node) in RESHAPES and is_real(source := node.all_input_nodes[0]) and source.meta["val"].dim() == 4


class _AlikeInGradient(torch.autograd.Function):
    """Returns its input. The gradient of a channels-last input is channels-last, too.

    Other inputs get their gradient as it is: elements of a view can share memory.
    """

    @staticmethod
    # Any: autograd's own signature
    def forward(ctx: Any, value: Tensor) -> Tensor:
        ctx.channels_last = value.is_contiguous(memory_format=torch.channels_last)
        # An alias keeps the strides; `view_as` changes the strides of axes of size 1.
        alias: Tensor = torch.ops.aten.alias.default(value)
        return alias

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient.contiguous(memory_format=torch.channels_last) if ctx.channels_last else gradient


def alike_in_gradient(value: Tensor) -> Tensor:
    """The value. If it is channels-last, its gradient gets this layout, too."""
    result: Tensor = _AlikeInGradient.apply(value)  # type: ignore[no-untyped-call]
    return result


def _weight(node: fx.Node) -> str:
    weight = node.args[1]
    return str(weight.target) if isinstance(weight, fx.Node) and weight.op == "get_attr" else ""


def _channels_last(weight: torch.Tensor) -> torch.Tensor:
    """A copy of the weight in channels-last layout.

    The strides are explicit: with a single channel, `to(memory_format=...)` would keep the old
    strides, and the convolution's result would have its channels apart.
    """
    _, channels, height, width = weight.shape
    strides = (channels * height * width, 1, width * channels, channels)
    return torch.empty_strided(weight.shape, strides, dtype=weight.dtype, device=weight.device).copy_(weight)
