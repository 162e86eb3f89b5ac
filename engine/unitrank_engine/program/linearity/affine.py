"""Finds nodes that are affine with the same slope for all examples.

A node of this kind multiplies by constants only.
"""

import re

import torch
from torch import fx

from unitrank_engine.program.linearity.linear import is_linear
from unitrank_engine.program.nodes import operator_name

ADDITIVE = frozenset(f"aten::{name}" for name in ("add", "sub", "cat", "stack"))
"""Operators that do not multiply, so their second argument need not be a constant."""

MOVING = re.compile(
    r"aten::(reshape|view|flatten|unflatten|permute|transpose|t|squeeze|unsqueeze|movedim|clone|contiguous|expand|alias|detach"
    r"|dropout|to|_to_copy|slice|select)$"
)
"""Operators that only move or copy values, so skipping them saves no work."""


def is_affine(node: fx.Node, affine: set[fx.Node], dependent: set[fx.Node]) -> bool:
    """Whether the node's value is affine in the start values, with the same slope for all examples.

    `affine`: earlier nodes whose values are affine.
    `dependent`: all nodes whose values depend on the start values.
    """
    sources = node.all_input_nodes
    if any(source in dependent and source not in affine for source in sources) or not is_linear(node, dependent):
        return False
    independent = [source for source in sources if source not in dependent and isinstance(source.meta.get("val"), torch.Tensor)]
    return operator_name(node) in ADDITIVE or all(_is_constant(source) for source in independent)


def _is_constant(node: fx.Node) -> bool:
    """Whether the value does not depend on any input of the graph."""
    waiting, visited = [node], {node}
    while waiting:
        source = waiting.pop()
        if source.op == "placeholder":
            return False
        waiting += [each for each in source.all_input_nodes if each not in visited]
        visited.update(source.all_input_nodes)
    return True
