"""Finds the values of a graph that a gradient of the output reaches.

No gradient passes through comparisons, choices of an index, or rounding.
"""

from collections.abc import Iterable

from torch import fx

from unitrank_engine.program.nodes import is_complex, is_real, operator_name

_NAMES = "round floor ceil trunc fix sign sgn heaviside floor_divide detach histc"
FLAT = frozenset(f"aten::{name}" for name in _NAMES.split())
"""Operators whose derivative is zero, or that block gradients."""


def reached_by_gradients(graph: fx.Graph, outputs: Iterable[fx.Node]) -> set[fx.Node]:
    """The nodes with a path to an output on which all operators pass gradients.

    A place at any other node can be ranked only with methods that use no gradients.
    """
    reached = set(outputs)
    for node in reversed(graph.nodes):
        if node in reached and passes_gradients(node):
            reached.update(source for source in node.all_input_nodes if _may_have_gradient(source))
    return reached


def passes_gradients(node: fx.Node) -> bool:
    """Whether the operator passes gradients to its arguments."""
    rounds = any(isinstance(value, str) for value in node.kwargs.values()) and operator_name(node) == "aten::div"
    return operator_name(node) not in FLAT and not rounds


def _may_have_gradient(node: fx.Node) -> bool:
    """Whether the value is real or complex, or a tuple of results, which may hold such a value."""
    return is_real(node) or is_complex(node) or isinstance(node.meta.get("val"), tuple | list)
