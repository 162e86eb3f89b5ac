"""Comparison steps: nodes that compute an elementwise function of one value by comparisons.

For example, `where(x > 1, x, 0)` is a comparison and a choice, and neither has a slope. The two
together are an elementwise function of x, which has a Rescale slope like any other activation.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx

from unitrank_engine.program.nodes import operator_name
from unitrank_engine.torch_private import OpOverload, tree_map

_UNTAGGED = "hardswish prelu log_sigmoid _to_copy to detach where masked_fill"
UNTAGGED = frozenset(f"aten::{name}" for name in _UNTAGGED.split())
"""Elementwise operators that do not have torch's tag `pointwise`."""


def elementwise(node: fx.Node) -> bool:
    """Return True for an operator that computes each element from the arguments' same element.

    That holds where the arguments and the result have the same shape, which the caller checks.
    """
    target = node.target
    return isinstance(target, OpOverload) and (torch.Tag.pointwise in target.tags or operator_name(node) in UNTAGGED)


@dataclass(frozen=True)
class ComparisonStep:
    """The nodes from a value, the source, to an elementwise function of it."""

    source: fx.Node
    nodes: tuple[fx.Node, ...]
    """The nodes in order of execution, without the source."""

    @property
    def inputs(self) -> set[fx.Node]:
        """The nodes that the step reads: its source and any others."""
        return {source for node in self.nodes for source in node.all_input_nodes} - set(self.nodes)

    def function(self, values: Mapping[fx.Node, Any]) -> Callable[[Tensor], Tensor]:
        """Return the step as a function of its source; all other inputs keep their `values`."""
        constants = {node: values[node] for node in self.inputs if node is not self.source}

        def run(x: Tensor) -> Tensor:
            results = {**constants, self.source: x}
            for node in self.nodes:
                args, kwargs = tree_map(lambda leaf: results[leaf] if isinstance(leaf, fx.Node) else leaf, (node.args, node.kwargs))
                assert callable(node.target)
                results[node] = node.target(*args, **kwargs)
            result: Tensor = results[self.nodes[-1]]
            return result

        return run


def step_to(node: fx.Node, order: Mapping[fx.Node, int], read: set[fx.Node]) -> ComparisonStep | None:
    """Return the step from the nearest floating-point value that a node comes from to the node.

    `order`: the number of each node in order of execution.
    `read`: the nodes that are computed from the graph's inputs.

    None where the node does not come from a single value through elementwise nodes of the same
    shape.
    """
    shape = _shape(node)
    nodes: set[fx.Node] = set()
    waiting = {node}
    while True:
        latest = max(waiting, key=order.__getitem__)
        if len(waiting) == 1 and nodes and _real(latest) and _shape(latest) == shape:
            return ComparisonStep(latest, tuple(sorted(nodes, key=order.__getitem__)))
        if not elementwise(latest) or _shape(latest) != shape:
            return None
        nodes.add(latest)
        waiting = (waiting - {latest}) | {source for source in latest.all_input_nodes if source in read}
        if not waiting:
            return None


def _shape(node: fx.Node) -> list[str] | None:
    value = node.meta.get("val")
    return [str(size) for size in value.shape] if isinstance(value, Tensor) else None


def _real(node: fx.Node) -> bool:
    return bool(node.meta["val"].is_floating_point())
