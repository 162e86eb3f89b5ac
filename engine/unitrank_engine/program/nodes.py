"""Answers which operator a node calls, and of which kind its value is."""

import torch
from torch import fx

from unitrank_engine.torch_private import OpOverload, schema_name


def operator_name(node: fx.Node) -> str:
    """The operator's name without its overload, such as `aten::relu`.

    Empty when the node does not call an operator.
    """
    return schema_name(node.target) if isinstance(node.target, OpOverload) else ""


def is_real(node: fx.Node) -> bool:
    """Whether the node's value is a tensor of floating-point numbers."""
    value = node.meta.get("val")
    return isinstance(value, torch.Tensor) and value.dtype.is_floating_point


def is_complex(node: fx.Node) -> bool:
    """Whether the node's value is a tensor of complex numbers."""
    value = node.meta.get("val")
    return isinstance(value, torch.Tensor) and value.dtype.is_complex


def computes_complex_values(graph: fx.Graph) -> bool:
    """Whether the graph computes complex numbers between its inputs and outputs."""
    return any(map(is_complex, graph.nodes))
