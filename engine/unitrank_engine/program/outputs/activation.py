"""Finds out from the graph whether an output is a softmax or a sigmoid."""

from torch import fx

from unitrank_engine.program.linearity.affine import MOVING
from unitrank_engine.program.nodes import operator_name

TO_PROBABILITIES = {
    "aten::softmax": "softmax",
    "aten::_softmax": "softmax",
    "aten::_safe_softmax": "softmax",
    "aten::sigmoid": "sigmoid",
}
"""Operator whose results are probabilities → its name in messages."""
KEEPING = frozenset({"aten::mean", "aten::amax"})
"""Operators that make probabilities of probabilities, besides those that only move values."""


def final_activation(output: fx.Node) -> str | None:
    """`softmax` or `sigmoid`, if the model computes its output by this function; otherwise None."""
    node = output
    while MOVING.match(operator_name(node)) or operator_name(node) in KEEPING:
        node = node.all_input_nodes[0]
    return TO_PROBABILITIES.get(operator_name(node))
