"""Cuts a graph in two at a place.

The head computes the value h of the place, once for each batch of examples. The tail computes the
output of the model from h; paths and masks run the tail again and again, each time with another h.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Any

import sympy  # type: ignore[import-untyped]  # it ships no types
import torch
from jaxtyping import Float
from torch import Tensor, fx

from unitrank_engine.errors import EngineError
from unitrank_engine.program.layout import lay_out_gradients
from unitrank_engine.program.linearity.frontier import Frontier, find_frontier
from unitrank_engine.program.linearity.linear import is_linear
from unitrank_engine.program.nodes import operator_name
from unitrank_engine.program.places import SHAPE_ONLY, Place, reaches, symbol_of
from unitrank_engine.program.subgraphs import extract
from unitrank_engine.torch_private import expression_of

FILLED = re.compile(r"aten::((full|ones|zeros)(_like)?|new_(full|ones|zeros))$")
"""Operators whose result is the same number for each row."""


@dataclass(frozen=True)
class Live:
    """The values that the tail reads besides h, such as an attention mask.

    `rows`: the number of examples that the values were computed for.
    """

    tensors: tuple[Tensor | int, ...]
    """Values in order of execution. An int is a size that depends on the number of rows."""
    rows: int


class Split:
    """Head and tail of a graph at one place, for one of the model's outputs.

    The first axis of h is always the batch, also when the graph uses another axis for it. `head`
    never tracks gradients; `tail` tracks them when h requires a gradient.

    `module`: the lifted graph of the model.
    `output`: the node of the chosen output.
    `symbols`: the symbols for the size of the batch.
    `costs`: floating-point operations of each node for one example.

    Raises EngineError `layer_without_effect` when the output does not depend on the place.
    """

    def __init__(
        self, module: fx.GraphModule, place: Place, output: fx.Node, symbols: frozenset[str], costs: Mapping[fx.Node, int]
    ) -> None:
        self.place = place
        self._module = module
        self.cut = not reaches(module.graph, place.node, output)
        """Whether each path from a real-valued input to the output passes the place."""
        self._symbols = symbols
        after = descendants(module.graph, place.node, output)
        if output is not place.node and output not in after:
            raise EngineError(
                "layer_without_effect",
                f"the {place.at} of layer '{place.layer}' does not influence the chosen output of the model; "
                "choose another output, or a layer that this output is computed from",
            )
        counted = counted_nodes(module.graph, after, symbols)
        self._live = [node for node in live_nodes(module.graph, after | counted) if node is not place.node]
        self._axes = [batch_axes(node, symbols) for node in self._live]
        self.repeatable = all(axes is not None for axes in self._axes)
        """Whether the tail can run on several copies of the rows in one pass."""
        self.reads_live = bool(self._live)
        """Whether the tail reads values besides h."""
        self._head = extract(module, [place.node, *self._live])
        self.behind = extract(
            module, [output], given=[place.node, *self._live], inputs=False, outputs=lambda graph, nodes: nodes[0]
        )
        """The graph of the tail."""
        self._tail = lay_out_gradients(self.behind)
        self.separate = all(batch_axes(node, symbols) is not None for node in after | counted)
        """Whether each value after the place has a separate axis for the rows."""
        self.tail_cost = sum(costs.get(node, 0) for node in after)
        """Floating-point operations of the tail for one example."""
        self.cost = sum(costs.values())
        """Floating-point operations of the whole model for one example."""
        self.linear = all(is_linear(node, after | {place.node}) for node in after)
        """Whether the output is an affine function of h."""

    @property
    def live_nodes(self) -> list[fx.Node]:
        """The nodes of the live values, in order of execution."""
        return self._live

    def head(self, inputs: tuple[Tensor, ...]) -> tuple[Float[Tensor, "rows *place"], Live]:
        """h and the live values for these inputs, without gradients."""
        with torch.no_grad():
            return self._result(*self._head(*inputs))

    @cached_property
    def around(self) -> dict[int, int] | None:
        """The live values, by index, through which changes of the inputs pass around the place.

        Each has its batch axis. None where the rows of such a value are not separate.
        """
        if self.cut:
            return {}
        real = [index for index, node in enumerate(self._live) if _is_real(node) and self._axes[index] != ()]
        axes = {index: self._axes[index] for index in real}
        return None if None in axes.values() else {index: each[0] for index, each in axes.items() if each}

    @cached_property
    def section_bytes(self) -> int:
        """Bytes of one example's h, the values around it, and the gradients of all these."""
        nodes = [self.place.node, *(self._live[index] for index in self.around or {})]
        return sum(2 * max(4, int(node.meta["val"].element_size())) * row_size(node.meta["val"]) for node in nodes)

    @cached_property
    def frontier(self) -> Frontier | None:
        """The last values before h that are affine in the inputs.

        None when interpolating them would save no work.
        """
        return find_frontier(self._module, [self.place.node, *self._live], self._symbols)

    def affine(self, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """The values at the frontier for these inputs; empty without a frontier."""
        return () if self.frontier is None else self.frontier.at(inputs)

    def head_behind(self, inputs: tuple[Tensor, ...], values: tuple[Tensor, ...]) -> tuple[Float[Tensor, "rows *place"], Live]:
        """The result of `head`, computed from the values at the frontier."""
        with torch.no_grad():
            return self._result(*(self._head(*inputs) if self.frontier is None else self.frontier.behind(*inputs, *values)))

    def _result(self, h: Tensor, *tensors: Tensor | int) -> tuple[Tensor, Live]:
        return h.movedim(self.place.batch_axis, 0), Live(tensors, h.shape[self.place.batch_axis])

    def tail(self, h: Float[Tensor, "rows *place"], live: Live) -> Tensor:
        """The output of the model for this h.

        h may hold several copies of the rows of `live`: all rows once, then all rows again, and so
        on.
        """
        result = self._tail(*self.values(h, live))
        assert isinstance(result, Tensor)
        return result

    def unreplaced(self, h: Float[Tensor, "rows *place"]) -> Float[Tensor, "rows *place"]:
        """The values of h in the tail where no unit is replaced."""
        return h

    def values(self, h: Float[Tensor, "rows *place"], live: Live) -> list[Any]:
        """The arguments of the graph `behind`.

        The batch of h moves to the axis that the graph uses. Each live value is repeated for each
        copy of the rows in h.
        """
        repeats, rest = divmod(len(h), live.rows)
        assert rest == 0
        assert repeats == 1 or self.repeatable
        return [h.movedim(0, self.place.batch_axis), *(self._value(index, live, repeats) for index in range(len(self._live)))]

    def _value(self, index: int, live: Live, repeats: int) -> Any:
        value, node = live.tensors[index], self._live[index]
        if not isinstance(value, Tensor):
            return value if repeats == 1 else _evaluate(node.meta["val"], self._symbols, live.rows * repeats)
        axes = self._axes[index]
        if repeats == 1 or not axes:
            return value
        counts = [repeats if axis in axes else 1 for axis in range(value.dim())]
        return value.repeat(counts)


def _evaluate(size: Any, symbols: frozenset[str], rows: int) -> int:
    """The value of a symbolic size for this number of rows."""
    expression = sympy.sympify(expression_of(size) if isinstance(size, torch.SymInt) else int(size))
    return int(expression.subs({symbol: rows for symbol in expression.free_symbols if str(symbol) in symbols}))


def batch_axes(node: fx.Node, symbols: frozenset[str]) -> tuple[int, ...] | None:
    """The axes of a live value whose size is exactly the batch.

    None when the batch is merged into another size, such as batch * heads. A merged size does not
    show which of its factors varies faster, so the value cannot be repeated.
    """
    value = node.meta.get("val")
    if not isinstance(value, torch.Tensor):
        return ()
    dynamic = [axis for axis, size in enumerate(value.shape) if isinstance(size, torch.SymInt)]
    exact = all(symbol_of(value.shape[axis]) in symbols for axis in dynamic)
    return tuple(dynamic) if exact and len(dynamic) <= 1 else None


def _is_real(node: fx.Node) -> bool:
    value = node.meta.get("val")
    return isinstance(value, torch.Tensor) and value.is_floating_point()


def row_size(value: Tensor) -> int:
    """The number of elements of one example in a traced value."""
    return prod(size for size in value.shape if not isinstance(size, torch.SymInt))


def descendants(graph: fx.Graph, start: fx.Node, output: fx.Node) -> set[fx.Node]:
    """The nodes on the paths from `start` to `output`, without `start`."""
    after = {start}
    for node in graph.nodes:
        if any(source in after for source in node.all_input_nodes):
            after.add(node)
    before = {output}
    for node in reversed(graph.nodes):
        if any(user in before for user in node.users):
            before.add(node)
    return (after & before) - {start}


def counted_nodes(graph: fx.Graph, after: set[fx.Node], symbols: frozenset[str]) -> set[fx.Node]:
    """The nodes before the tail that depend on the number of rows alone, such as `arange(rows)`.

    They are computed in the tail. Repeating them with the rows would repeat the numbers of the
    first rows.
    """
    valued: set[fx.Node] = set()
    for node in graph.nodes:
        reads = not SHAPE_ONLY.match(operator_name(node)) and any(source in valued for source in node.all_input_nodes)
        if node.op == "placeholder" or reads:
            valued.add(node)
    counted: set[fx.Node] = set()
    for node in reversed(graph.nodes):
        read = any(user in after or user in counted for user in node.users)
        from_count = node.op == "call_function" and node not in valued and not FILLED.match(operator_name(node))
        if read and from_count and batch_axes(node, symbols) != ():
            counted.add(node)
    return counted


def live_nodes(graph: fx.Graph, after: set[fx.Node]) -> list[fx.Node]:
    """The nodes before the tail that it reads, without parameters, in order of execution."""
    read = {source for node in after for source in node.all_input_nodes if source not in after}
    return [node for node in graph.nodes if node in read and node.op != "get_attr"]
