"""Two runs of a graph in lockstep, at the baseline and at x, whose operations go back by their mean Jacobian between the two.

Nothing in the model has to be a module: a ReLU may be functional, shared or in place, because what is read is the
functionalised graph. Operations that are linear in what differs between the runs keep their own derivative.
"""

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, fx
from torch.utils._pytree import tree_leaves

from worker.methods.batch import Notes
from worker.methods.deeplift import maxima, reveal_cancel
from worker.methods.deeplift.operation import Operation
from worker.methods.deeplift.quadrature import LEVELS, MIDPOINT, MeanJacobian
from worker.methods.deeplift.rescale import POINTWISE, slope
from worker.methods.deeplift.secant import attach
from worker.program.functional import operator_name
from worker.program.linear import is_linear
from worker.program.places import SHAPE_ONLY

Rules = Literal["rescale", "reveal_cancel", "default"]

FACTORS: dict[str, tuple[int, int]] = {
    **{f"aten::{name}": (0, 1) for name in ("mul", "matmul", "mm", "bmm", "linear", "conv1d", "conv2d", "conv3d", "convolution")},
    **{f"aten::{name}": (1, 2) for name in ("addmm", "baddbmm", "addbmm")},
}
"""Products: which arguments are multiplied."""
CHOOSING = frozenset({"aten::where", "aten::masked_fill"})
"""Linear in what they choose from, as long as both runs choose alike."""


class Lockstep:
    """One batch at both ends of its path through a graph."""

    def __init__(self, graph: fx.GraphModule, rules: Rules, notes: Notes) -> None:
        self.module = graph
        self.rules = rules
        self.notes = notes
        self.start: dict[fx.Node, Any] = {}
        self.end: dict[fx.Node, Any] = {}
        self.read: set[fx.Node] = set()
        """Nodes that are computed from the graph's inputs."""
        self.varying: set[fx.Node] = set()
        """Those among them whose values are real numbers."""

    def run(self, start: Sequence[Any], end: Sequence[Any]) -> tuple[Tensor, Tensor]:
        """The output at both ends; autograd goes back from the second to what of `end` asks for gradients."""
        inputs = iter(zip(start, end, strict=True))
        for node in self.module.graph.nodes:
            if node.op == "placeholder":
                self.start[node], self.end[node] = next(inputs)
                self.read.add(node)
                self._look(node)
            elif node.op == "get_attr":
                self.start[node] = self.end[node] = _attribute(self.module, str(node.target))
            elif node.op == "call_function":
                self._call(node)
        (output,) = next(iter(reversed(self.module.graph.nodes))).all_input_nodes
        return self.start[output], self.end[output]

    def _look(self, node: fx.Node) -> None:
        if any(isinstance(leaf, Tensor) and leaf.is_floating_point() for leaf in tree_leaves(self.end[node])):
            self.varying.add(node)

    def _call(self, node: fx.Node) -> None:
        operation = Operation(node, self.start, self.end, self.varying)
        with torch.no_grad():
            self.start[node] = operation.at_start()
        if not any(source in self.read for source in node.all_input_nodes):
            self.end[node] = self.start[node]
            return
        self.read.add(node)
        if SHAPE_ONLY.match(operator_name(node)) or not operation.real(self.start[node]):
            self.end[node] = operation.at_end_detached()
            return
        self.end[node] = self._tracked(operation) if operation.tracked else operation.at_end()
        self._look(node)

    def _tracked(self, operation: Operation) -> Any:
        """The results at x, with their way back."""
        if self._is_linear(operation):
            return operation.at_end()
        name = operation.name
        if name in FACTORS:
            return self._quadrature(operation, MIDPOINT)
        if name in maxima.RULES:
            return maxima.RULES[name](operation)
        if operation.is_pointwise(POINTWISE):
            return self._pointwise(operation)
        if not operation.differentiable():
            self.notes.add("derivative", name)
            return operation.at_end()
        self.notes.add("quadrature", name)
        return self._quadrature(operation, LEVELS)

    def _is_linear(self, operation: Operation) -> bool:
        """In what differs between the runs, all that does not held."""
        node, name = operation.node, operator_name(operation.node)
        if name in FACTORS:
            return not all(node.args[place] in self.varying for place in FACTORS[name])
        return (name in CHOOSING and operation.choices_agree()) or is_linear(node, self.varying)

    def _pointwise(self, operation: Operation) -> Tensor:
        (source,) = operation.sources
        layer = reveal_cancel.linear_behind(source, self.varying) if self.rules != "rescale" else None
        if layer is not None and (layer.dense or self.rules == "reveal_cancel") and operation.requires_gradient(layer.input):
            return self._reveal_cancel(operation, layer)
        start, end = self.start[source], self.end[source]
        value = operation.at_end_detached()
        mean = slope(operation.one, start, end.detach(), (self.start[operation.node], value))
        (result,) = attach(lambda gradient: (gradient * mean,), [value], [end])
        return result

    def _reveal_cancel(self, operation: Operation, layer: reveal_cancel.Linear) -> Tensor:
        (source,) = operation.sources
        p, n = layer.contributions(self.start, self.end)
        up, down = reveal_cancel.multipliers(operation.one, self.start[source], p.detach(), n.detach())
        through = up * p + down * n
        value: Tensor = operation.at_end_detached()
        return through + (value - through.detach())

    def _quadrature(self, operation: Operation, levels: Sequence[int]) -> Any:
        node = operation.node
        mean = MeanJacobian(operation.apply, *operation.line(), *operation.axes(), levels, lambda: self._missed(node))
        values = operation.at_end_detached()
        results = operation.real(values)
        change = [end - start for start, end in zip(operation.real(self.start[node]), results, strict=True)]
        return operation.rebuilt(values, attach(lambda *gradients: mean.back(gradients, change), results, operation.line_tracked()))

    def _missed(self, node: fx.Node) -> None:
        stack = list((node.meta.get("nn_module_stack") or {}).values())
        where = f" in layer '{stack[-1][0]}'" if stack and stack[-1][0] else ""
        self.notes.warn(
            "degenerate_reference",
            f"{operator_name(node) or node.target}{where} is ill-posed between the baseline and some examples: its mean slope "
            f"does not converge, so that scores before it may be off; choose another baseline, such as 'mean'",
        )


def _attribute(module: fx.GraphModule, path: str) -> Any:
    value: Any = module
    for name in path.split("."):
        value = getattr(value, name)
    return value
