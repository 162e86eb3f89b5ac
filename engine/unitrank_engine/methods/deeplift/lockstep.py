"""Runs a graph at the baseline and at x in lockstep, with DeepLIFT's slopes for the backward pass.

Each operation's derivative is replaced by its mean Jacobian between the two runs. Operations that
are linear in the values that differ between the runs keep their derivative. The functionalised
graph is read, not the model's modules, so a ReLU may be a module, a function, shared or in place.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, fx

from unitrank_engine.methods.batch import Notes
from unitrank_engine.methods.deeplift import maxima, reveal_cancel
from unitrank_engine.methods.deeplift.operation import Operation, continuous, differ, is_continuous, tracked
from unitrank_engine.methods.deeplift.products import product
from unitrank_engine.methods.deeplift.quadrature import mean_slopes
from unitrank_engine.methods.deeplift.rescale import relu_slope, slope
from unitrank_engine.methods.deeplift.secant import Back, Slope, attach
from unitrank_engine.methods.deeplift.steps import ComparisonStep, elementwise, step_to
from unitrank_engine.program.linearity.linear import FACTORS, is_linear
from unitrank_engine.program.nodes import operator_name
from unitrank_engine.program.places import SHAPE_ONLY
from unitrank_engine.program.proof.checked_graph import CheckedGraph

Rules = Literal["rescale", "reveal_cancel", "default"]

_CHOOSING = "where masked_fill index gather index_select take_along_dim embedding"
CHOOSING = frozenset(f"aten::{name}" for name in _CHOOSING.split())
"""Operators that are linear in the values that they choose from."""

SlopeRule = Callable[[Tensor, Tensor, tuple[Tensor, Tensor]], Tensor]
"""Takes an operator's argument at the baseline and at x, and its results there.

Returns its slope between them.
"""
BackRule = Callable[[Operation, Any], Back]
"""Takes an operation in both runs, and its result at the baseline; returns its backward pass.

The backward pass must not hold the result at x (see `Operation`).
"""


class Lockstep:
    """Runs one batch through a graph, at the baseline and at x.

    `graph`: the functionalised graph after the place.
    `rules`: `rescale`, `reveal_cancel`, or `default` (RevealCancel after dense layers, else
        Rescale).
    `notes`: gets the names of operators that no rule covers, and warnings.
    `several`: whether other baselines follow, so that the values at x are kept for them.
    """

    def __init__(self, graph: CheckedGraph, rules: Rules, notes: Notes, *, several: bool = False) -> None:
        self.module = graph
        self.rules = rules
        self.notes = notes
        self.several = several
        """Whether `again` can be called."""
        self._slopes: dict[fx.Node, tuple[Slope, BackRule]] = {}
        self.start: dict[fx.Node, Any] = {}
        """Values at the baseline."""
        self.end: dict[fx.Node, Any] = {}
        """Values at x."""
        self.read: set[fx.Node] = set()
        """Nodes that are computed from the graph's inputs."""
        self.varying: set[fx.Node] = set()
        """Nodes of `read` whose values are real or complex."""
        self.severed: set[fx.Node] = set()
        """Results of comparisons: they differ between the runs because of h, without a gradient."""
        self.order = {node: index for index, node in enumerate(graph.graph.nodes)}

    def run(self, start: Sequence[Any], end: Sequence[Any]) -> tuple[Tensor, Tensor]:
        """Return the output at the baseline and at x.

        `start`, `end`: the graph's inputs at the baseline and at x.

        autograd goes back from the output at x to the tensors of `end` that require gradients; the
        gradients are DeepLIFT's multipliers.
        """
        self.module.compare(*end)
        inputs = iter(zip(start, end, strict=True))
        nodes = list(self.module.graph.nodes)
        steps = self._steps(nodes)
        expired = self._expired(nodes, steps)
        for node in nodes:
            if node.op == "placeholder":
                self.start[node], self.end[node] = next(inputs)
            elif node.op == "get_attr":
                self.start[node] = self.end[node] = _attribute(self.module, str(node.target))
            elif node.op == "call_function":
                self._call(node, steps.get(node))
            if continuous(self.end.get(node)) and node in self.read:
                self.varying.add(node)
            for done in expired[node]:
                del self.start[done]
                if not self.several:
                    del self.end[done]
        self._expire = expired
        (output,) = nodes[-1].all_input_nodes
        return self.start[output], self.end[output]

    def again(self, start: Sequence[Any]) -> Tensor:
        """Return the output at another baseline, whose slopes replace those of the last one.

        The output at x, which `run` returned, stays: a backward pass from it has the new slopes.
        """
        inputs, nodes = iter(start), list(self.module.graph.nodes)
        for node in nodes:
            if node.op == "placeholder":
                self.start[node] = next(inputs)
            elif node.op == "get_attr":
                self.start[node] = self.end[node]
            elif node.op == "call_function":
                operation = Operation(node, self.start, self.end, self.varying)
                with torch.no_grad():
                    self.start[node] = operation.at_start()
                    if node in self._slopes:
                        slopes, rule = self._slopes[node]
                        slopes.back = rule(operation, self.start[node])
            for done in self._expire[node]:
                del self.start[done]
        (output,) = nodes[-1].all_input_nodes
        result: Tensor = self.start[output]
        return result

    def _steps(self, nodes: Sequence[fx.Node]) -> dict[fx.Node, ComparisonStep]:
        """Return the floating-point nodes that depend on comparisons, with their steps.

        Also fill `read` with the nodes that are computed from the graph's inputs.
        """
        from_comparisons: set[fx.Node] = set()
        steps = {}
        for node in nodes:
            if node.op == "placeholder" or any(source in self.read for source in node.all_input_nodes):
                self.read.add(node)
            value = node.meta.get("val")
            if node.op != "call_function" or not isinstance(value, Tensor) or node not in self.read:
                continue
            compared = any(source in from_comparisons for source in node.all_input_nodes)
            step = step_to(node, self.order, self.read) if compared and value.is_floating_point() else None
            if step is not None:
                steps[node] = step
            elif compared or not is_continuous(value) or operator_name(node) == "aten::detach":
                from_comparisons.add(node)
        return steps

    def _expired(self, nodes: Sequence[fx.Node], steps: dict[fx.Node, ComparisonStep]) -> dict[fx.Node, list[fx.Node]]:
        """Return for each node the values that no later node reads, so that they can be freed.

        The values that the backward pass needs stay in memory: autograd holds them.
        """
        last: dict[fx.Node, fx.Node] = {}
        for node in nodes:
            linear = [each for source in node.all_input_nodes for each in reveal_cancel.reads(source)] if elementwise(node) else []
            stepped = steps[node].inputs if node in steps else ()
            for source in (*node.all_input_nodes, *linear, *stepped):
                last[source] = node
        expired = defaultdict(list)
        for source, node in last.items():
            if node.op != "output":
                expired[node].append(source)
        return expired

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
        if severed and step is not None and tracked(self.end[step.source]):
            return self._elementwise(operation, partial(slope, step.function(self.end)), step.source, operation.at_end_detached())
        if not operation.tracked or not continuous(self.start[node]):
            value = operation.at_end_detached()
            if severed or operation.tracked:
                # Which values a comparison severs depends on the baseline.
                self.several = False
                if differ(self.start[node], value):
                    self.severed.add(node)
            return value
        if severed:
            self.notes.add("derivative", operation.name)
        return self._with_slope(operation)

    def _with_slope(self, operation: Operation) -> Any:
        """Return the operation's value at x, with the rule's slope in its backward pass."""
        node, name = operation.node, operation.name
        if name in CHOOSING or is_linear(node, self.varying):
            return operation.at_end()
        if name in FACTORS:
            return self._attached(operation, product)
        if name in maxima.RULES:
            return self._attached(operation, maxima.RULES[name])
        if elementwise(node) and len(operation.sources) == 1 and operation.keeps_shape(self.start[node]):
            return self._pointwise(operation)
        if not operation.differentiable():
            self.notes.add("derivative", name)
            return operation.at_end()
        self.notes.add("quadrature", name)
        return self._attached(operation, partial(mean_slopes, self.notes))

    def _attached(self, operation: Operation, rule: BackRule) -> Any:
        values = operation.at_end_detached()
        slopes = self._slopes_of(operation, rule)
        return operation.rebuilt(values, attach(slopes, continuous(values), operation.line_tracked()))

    def _slopes_of(self, operation: Operation, rule: BackRule) -> Slope:
        slopes = Slope(rule(operation, self.start[operation.node]))
        if self.several:
            self._slopes[operation.node] = slopes, rule
        return slopes

    def _pointwise(self, operation: Operation) -> Tensor:
        (source,) = operation.sources
        layer = reveal_cancel.linear_before(source, self.varying) if self.rules != "rescale" else None
        value: Tensor = operation.at_end_detached()
        if layer is not None and (layer.dense or self.rules == "reveal_cancel") and tracked(self.end[layer.input]):
            self.several = False
            contributions = layer.contributions(self.start, self.end)
            return reveal_cancel.with_multipliers(operation.of_argument, self.start[source], contributions, value)
        rule = relu_slope if operation.name == "aten::relu" else partial(slope, operation.of_argument)
        return self._elementwise(operation, rule, source, value)

    def _elementwise(self, operation: Operation, rule: SlopeRule, source: fx.Node, value: Tensor) -> Tensor:
        def back(of_baseline: Operation, at_start: Tensor) -> Back:
            mean = rule(self.start[source], end.detach(), (at_start, value))
            return lambda gradient: (gradient * mean,)

        end = self.end[source]
        (result,) = attach(self._slopes_of(operation, back), [value], [end])
        return result


def _attribute(module: fx.GraphModule, path: str) -> Any:
    value: Any = module
    for name in path.split("."):
        value = getattr(value, name)
    return value
