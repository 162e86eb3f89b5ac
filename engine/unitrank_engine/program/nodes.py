"""Questions about one node of a graph: which operator it calls, and whether its value is a real tensor."""

import torch
from torch import fx

from unitrank_engine.torch_private import OpOverload, schema_name


def operator_name(node: fx.Node) -> str:
    """`aten::relu` for a call of any of its overloads, else the empty string."""
    return schema_name(node.target) if isinstance(node.target, OpOverload) else ""


def is_real(node: fx.Node) -> bool:
    """Whether the node's value is one tensor of real numbers."""
    value = node.meta.get("val")
    return isinstance(value, torch.Tensor) and value.dtype.is_floating_point
