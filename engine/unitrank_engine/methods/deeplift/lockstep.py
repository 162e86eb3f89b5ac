"""Two runs of a graph in lockstep, at the baseline and at x, whose operations go back by their mean Jacobian between the two.

Nothing in the model has to be a module: a ReLU may be functional, shared or in place, because what is read is the
functionalised graph. Operations that are linear in what differs between the runs keep their own derivative.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, fx

from unitrank_engine.methods.batch import Notes
from unitrank_engine.methods.deeplift import maxima, reveal_cancel
from unitrank_engine.methods.deeplift.line import Line, vjp
from unitrank_engine.methods.deeplift.operation import Operation, is_real, real
from unitrank_engine.methods.deeplift.quadrature import MeanJacobian
from unitrank_engine.methods.deeplift.rescale import relu_slope, slope
from unitrank_engine.methods.deeplift.secant import attach
from unitrank_engine.methods.deeplift.steps import ComparisonStep, elementwise, step_to
from unitrank_engine.program.linearity.linear import FACTORS, is_linear
from unitrank_engine.program.nodes import operator_name
from unitrank_engine.program.places import SHAPE_ONLY
from unitrank_engine.torch_private import tree_leaves

Rules = Literal["rescale", "reveal_cancel", "default"]

_CHOOSING = "where masked_fill index gather index_select take_along_dim embedding"
CHOOSING = frozenset(f"aten::{name}" for name in _CHOOSING.split())
"""Linear in what they choose from."""


Slope = Callable[[Tensor, Tensor, tuple[Tensor, Tensor]], Tensor]
"""Both ends of what an operator is given, and its results there → its slope between them."""


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
        self.severed: set[fx.Node] = set()
        """Those that differ between the runs because of h, and yet have no way back to it: what comparisons result in."""
        self.order = {node: index for index, node in enumerate(graph.graph.nodes)}

    def run(self, start: Sequence[Any], end: Sequence[Any]) -> tuple[Tensor, Tensor]:
        """The output at both ends; autograd goes back from the second to what of `end` asks for gradients."""
        inputs = iter(zip(start, end, strict=True))
        nodes = list(self.module.graph.nodes)
        steps = self._steps(nodes)
        forgotten = self._forgotten(nodes, steps)
        for node in nodes:
            if node.op == "placeholder":
                self.start[node], self.end[node] = next(inputs)
            elif node.op == "get_attr":
                self.start[node] = self.end[node] = _attribute(self.module, str(node.target))
            elif node.op == "call_function":
                self._call(node, steps.get(node))
            if any(is_real(leaf) for leaf in tree_leaves(self.end.get(node))) and node in self.read:
                self.varying.add(node)
            for done in forgotten[node]:
                del self.start[done], self.end[done]
        (output,) = nodes[-1].all_input_nodes
        return self.start[output], self.end[output]

    def _steps(self, nodes: Sequence[fx.Node]) -> dict[fx.Node, ComparisonStep]:
        """The real values that are made by comparisons, with what they are a function of; and which nodes read the inputs."""
        chosen: set[fx.Node] = set()
        steps = {}
        for node in nodes:
            if node.op == "placeholder" or any(source in self.read for source in node.all_input_nodes):
                self.read.add(node)
            value = node.meta.get("val")
            if node.op != "call_function" or not isinstance(value, Tensor) or node not in self.read:
                continue
            compared = any(source in chosen for source in node.all_input_nodes)
            step = step_to(node, self.order, self.read) if compared and value.is_floating_point() else None
            if step is not None:
                steps[node] = step
            elif compared or not value.is_floating_point() or operator_name(node) == "aten::detach":
                chosen.add(node)
        return steps

    def _forgotten(self, nodes: Sequence[fx.Node], steps: dict[fx.Node, ComparisonStep]) -> dict[fx.Node, list[fx.Node]]:
        """After which node each value is needed no more: of two runs' values only what the way back needs stays in memory."""
        last: dict[fx.Node, fx.Node] = {}
        for node in nodes:
            behind = [each for source in node.all_input_nodes for each in reveal_cancel.behind(source)] if elementwise(node) else []
            stepped = steps[node].inputs if node in steps else ()
            for source in (*node.all_input_nodes, *behind, *stepped):
                last[source] = node
        forgotten = defaultdict(list)
        for source, node in last.items():
            if node.op != "output":
                forgotten[node].append(source)
        return forgotten

    def _call(self, node: fx.Node, step: ComparisonStep | None) -> None:
        operation = Operation(node, self.start, self.end, self.varying)
        with torch.no_grad():
            self.start[node] = operation.at_start()
        if node not in self.read:
            self.end[node] = self.start[node]
        elif SHAPE_ONLY.match(operator_name(node)):
            self.end[node] = operation.at_end_detached()
        else:
            self.end[node] = self._at_end(operation, step)

    def _at_end(self, operation: Operation, step: ComparisonStep | None) -> Any:
        node = operation.node
        severed = any(source in self.severed for source in node.all_input_nodes)
        if severed and step is not None and _tracked(self.end[step.source]):
            return self._elementwise(partial(slope, step.function(self.end)), step.source, node, operation.at_end_detached())
        if not operation.tracked or not real(self.start[node]):
            value = operation.at_end_detached()
            if (severed or operation.tracked) and _differ(self.start[node], value):
                self.severed.add(node)
            return value
        if severed:
            self.notes.add("derivative", operation.name)
        return self._with_way_back(operation)

    def _with_way_back(self, operation: Operation) -> Any:
        node, name = operation.node, operation.name
        if name in CHOOSING or is_linear(node, self.varying):
            return operation.at_end()
        if name in FACTORS:
            return self._product(operation)
        if name in maxima.RULES:
            return maxima.RULES[name](operation)
        if elementwise(node) and len(operation.sources) == 1 and operation.keeps_shape(self.start[node]):
            return self._pointwise(operation)
        if not operation.differentiable():
            self.notes.add("derivative", name)
            return operation.at_end()
        self.notes.add("quadrature", name)
        return self._quadrature(operation)

    def _pointwise(self, operation: Operation) -> Tensor:
        (source,) = operation.sources
        layer = reveal_cancel.linear_behind(source, self.varying) if self.rules != "rescale" else None
        value: Tensor = operation.at_end_detached()
        if layer is not None and (layer.dense or self.rules == "reveal_cancel") and _tracked(self.end[layer.input]):
            return reveal_cancel.carried(operation.one, self.start[source], layer.contributions(self.start, self.end), value)
        rule = relu_slope if operation.name == "aten::relu" else partial(slope, operation.one)
        return self._elementwise(rule, source, operation.node, value)

    def _elementwise(self, rule: Slope, source: fx.Node, node: fx.Node, value: Tensor) -> Tensor:
        end = self.end[source]
        mean = rule(self.start[source], end.detach(), (self.start[node], value))
        (result,) = attach(lambda gradient: (gradient * mean,), [value], [end])
        return result

    def _product(self, operation: Operation) -> Tensor:
        """Each factor's slope is the other at its midpoint: exact, because the Jacobian is linear in t."""
        value: Tensor = operation.at_end_detached()
        middle = [(start + end) / 2 for start, end in zip(*operation.line(), strict=True)]
        (result,) = attach(lambda gradient: vjp(operation.apply, middle, [gradient]), [value], operation.line_tracked())
        return result

    def _quadrature(self, operation: Operation) -> Any:
        line = Line.between(operation.apply, operation.line(), *operation.axes())
        mean = MeanJacobian(line, operation.alone(), _warning(self.notes, operation.node))
        values = operation.at_end_detached()
        return operation.rebuilt(values, attach(mean.back, real(values), operation.line_tracked()))


def _warning(notes: Notes, node: fx.Node) -> Callable[[], None]:
    stack = list((node.meta.get("nn_module_stack") or {}).values())
    where = f" in layer '{stack[-1][0]}'" if stack and stack[-1][0] else ""
    return lambda: notes.warn(
        "degenerate_reference",
        f"{operator_name(node) or node.target}{where} is ill-posed between the baseline and some examples: its mean slope "
        f"does not converge, so that scores before it may be off; choose another baseline, such as 'mean'",
    )


def _tracked(value: Any) -> bool:
    return any(isinstance(leaf, Tensor) and leaf.requires_grad for leaf in tree_leaves(value))


def _differ(start: Any, end: Any) -> bool:
    """Whether some tensor of a node is not the same in both runs."""
    pairs = zip(tree_leaves(start), tree_leaves(end), strict=True)
    return any(isinstance(one, Tensor) and not torch.equal(one.expand_as(other), other) for one, other in pairs)


def _attribute(module: fx.GraphModule, path: str) -> Any:
    value: Any = module
    for name in path.split("."):
        value = getattr(value, name)
    return value
