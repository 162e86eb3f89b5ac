"""Values that are chosen by comparing others: seen from the one value that all of them come from, a kink or a step of it.

ATen has no hard shrinkage and no leaky ReLU of one's own: they are a comparison and a choice, neither of which has a slope.
But the choice as a whole is a function, element by element, of one value before it, and that has a Rescale like any other.
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
"""Work element by element, without a tag that says so."""


def elementwise(node: fx.Node) -> bool:
    """Whether the operator, where all have one shape, makes each element of one element."""
    target = node.target
    return isinstance(target, OpOverload) and (torch.Tag.pointwise in target.tags or operator_name(node) in UNTAGGED)


@dataclass(frozen=True)
class ComparisonStep:
    """The nodes between a value and what is made of it element by element."""

    source: fx.Node
    nodes: tuple[fx.Node, ...]
    """In order of execution."""

    @property
    def inputs(self) -> set[fx.Node]:
        return {source for node in self.nodes for source in node.all_input_nodes} - set(self.nodes)

    def function(self, values: Mapping[fx.Node, Any]) -> Callable[[Tensor], Tensor]:
        """Of the source; what else the nodes read is held."""
        held = {node: values[node] for node in self.inputs if node is not self.source}

        def run(x: Tensor) -> Tensor:
            found = {**held, self.source: x}
            for node in self.nodes:
                args, kwargs = tree_map(lambda leaf: found[leaf] if isinstance(leaf, fx.Node) else leaf, (node.args, node.kwargs))
                assert callable(node.target)
                found[node] = node.target(*args, **kwargs)
            result: Tensor = found[self.nodes[-1]]
            return result

        return run


def step_to(node: fx.Node, order: Mapping[fx.Node, int], read: set[fx.Node]) -> ComparisonStep | None:
    """The step that ends at a node and begins at the nearest real value that all of it comes from; None where there is none.

    `read` are the nodes that are computed from the graph's inputs, `order` numbers all.
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
