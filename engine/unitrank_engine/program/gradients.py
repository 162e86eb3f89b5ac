"""Which values of the graph a gradient of the output reaches: none comes back through comparisons, choices or rounding."""

from collections.abc import Iterable

import torch
from torch import fx

from unitrank_engine.program.functional import operator_name

_NAMES = "round floor ceil trunc fix sign sgn heaviside floor_divide detach"
FLAT = frozenset(f"aten::{name}" for name in _NAMES.split())
"""Operators whose derivative is zero wherever there is one, or that let none through."""


def reached_by_gradients(graph: fx.Graph, outputs: Iterable[fx.Node]) -> set[fx.Node]:
    """The values whose gradient is not zero by the operators alone: every other place can be ranked without gradients only."""
    reached = set(outputs)
    for node in reversed(graph.nodes):
        if node in reached and _passes(node):
            reached.update(source for source in node.all_input_nodes if _is_real(source))
    return reached


def _passes(node: fx.Node) -> bool:
    rounds = any(isinstance(value, str) for value in node.kwargs.values()) and operator_name(node) == "aten::div"
    return operator_name(node) not in FLAT and not rounds


def _is_real(node: fx.Node) -> bool:
    """What an operator with several results returns may hold a real tensor."""
    value = node.meta.get("val")
    return value.dtype.is_floating_point if isinstance(value, torch.Tensor) else isinstance(value, tuple | list)
