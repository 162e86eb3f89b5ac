"""Which values are affine in others with one slope for all examples: they multiply by nothing but constants."""

import re

import torch
from torch import fx

from unitrank_engine.program.linearity.linear import is_linear
from unitrank_engine.program.nodes import operator_name

ADDITIVE = frozenset(f"aten::{name}" for name in ("add", "sub", "cat", "stack"))
"""What they add is not what they multiply by."""

MOVING = re.compile(
    r"aten::(reshape|view|flatten|unflatten|permute|transpose|t|squeeze|unsqueeze|movedim|clone|contiguous|expand|alias|detach"
    r"|dropout|to|_to_copy|slice|select)$"
)
"""Bring values elsewhere and nothing else: a column of their results saves no work."""


def is_affine(node: fx.Node, affine: set[fx.Node], dependent: set[fx.Node]) -> bool:
    """Whether the node adds what does not come from the place, and multiplies by nothing but constants."""
    sources = node.all_input_nodes
    if any(source in dependent and source not in affine for source in sources) or not is_linear(node, dependent):
        return False
    others = [source for source in sources if source not in dependent and isinstance(source.meta.get("val"), torch.Tensor)]
    return operator_name(node) in ADDITIVE or all(_is_constant(source) for source in others)


def _is_constant(node: fx.Node) -> bool:
    """Whether a value does not depend on the model's inputs."""
    waiting, seen = [node], {node}
    while waiting:
        source = waiting.pop()
        if source.op == "placeholder":
            return False
        waiting += [each for each in source.all_input_nodes if each not in seen]
        seen.update(source.all_input_nodes)
    return True
