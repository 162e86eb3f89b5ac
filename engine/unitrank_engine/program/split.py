"""The graph cut in two at a place: the head makes h once, the tail is run as often as paths and masks ask."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import sympy  # type: ignore[import-untyped]  # it ships no types
import torch
from jaxtyping import Float
from torch import Tensor, fx

from unitrank_engine.errors import EngineError
from unitrank_engine.program.linearity.frontier import Frontier, find_frontier
from unitrank_engine.program.linearity.linear import is_linear
from unitrank_engine.program.nodes import operator_name
from unitrank_engine.program.places import SHAPE_ONLY, Place, reaches, symbol_of
from unitrank_engine.program.subgraphs import extract
from unitrank_engine.torch_private import expression_of

FILLED = re.compile(r"aten::((full|ones|zeros)(_like)?|new_(full|ones|zeros))$")
"""One number for all rows, however often they are repeated."""


@dataclass(frozen=True)
class Live:
    """What the tail needs beside h, for the rows it was made from."""

    tensors: tuple[Tensor | int, ...]
    """An int is a size that depends on the number of rows."""
    rows: int


class Split:
    """Head and tail of a graph at one place, for one of the model's outputs.

    h always has its batch first, whatever axis the graph keeps it on. Nothing here tracks gradients by itself: `head`
    never does, `tail` does where h asks for it. Raises EngineError `layer_without_effect`.
    """

    def __init__(
        self, module: fx.GraphModule, place: Place, output: fx.Node, symbols: frozenset[str], costs: Mapping[fx.Node, int]
    ) -> None:
        self.place = place
        self._module = module
        self.cut = not reaches(module.graph, place.node, output)
        self._symbols = symbols
        after = descendants(module.graph, place.node, output)
        if output is not place.node and output not in after:
            raise EngineError(
                "layer_without_effect",
                f"the {place.at} of layer '{place.layer}' has no way to the chosen output of the model; "
                "name another output, or a layer that this one is computed from",
            )
        counted = _counted(module.graph, after, symbols)
        self._live = _live_nodes(module.graph, after | counted, place.node)
        self._axes = [_batch_axes(node, symbols) for node in self._live]
        self.repeatable = all(axes is not None for axes in self._axes)
        self._head = extract(module, [place.node, *self._live])
        self.behind = extract(
            module, [output], given=[place.node, *self._live], inputs=False, outputs=lambda graph, nodes: nodes[0]
        )
        """The graph behind the place."""
        self.separate = all(_batch_axes(node, symbols) is not None for node in after | counted)
        """Whether every value behind the place has an axis of its own for the rows."""
        self.tail_cost = sum(costs.get(node, 0) for node in after)
        self.cost = sum(costs.values())
        self.linear = all(is_linear(node, after | {place.node}) for node in after)

    def head(self, inputs: tuple[Tensor, ...]) -> tuple[Float[Tensor, "rows *place"], Live]:
        """h and the live values of these inputs, without gradients."""
        with torch.no_grad():
            return self._result(*self._head(*inputs))

    @cached_property
    def frontier(self) -> Frontier | None:
        """How far the way to h is affine in the inputs."""
        return find_frontier(self._module, [self.place.node, *self._live], self._symbols)

    def affine(self, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """The values of these inputs at the frontier; none where there is no frontier."""
        return () if self.frontier is None else self.frontier.at(inputs)

    def head_behind(self, inputs: tuple[Tensor, ...], values: tuple[Tensor, ...]) -> tuple[Float[Tensor, "rows *place"], Live]:
        """As `head`, where the values at the frontier are known."""
        with torch.no_grad():
            return self._result(*(self._head(*inputs) if self.frontier is None else self.frontier.behind(*inputs, *values)))

    def _result(self, h: Tensor, *tensors: Tensor | int) -> tuple[Tensor, Live]:
        return h.movedim(self.place.batch_axis, 0), Live(tensors, h.shape[self.place.batch_axis])

    def tail(self, h: Float[Tensor, "rows *place"], live: Live) -> Tensor:
        """The output for these values. h may hold the live values' rows several times over, one full round after another."""
        result = self.behind(*self.values(h, live))
        assert isinstance(result, Tensor)
        return result

    def values(self, h: Float[Tensor, "rows *place"], live: Live) -> list[Any]:
        """What the tail's graph is called with: h as the graph lays it out, and the live values as often as h holds their rows."""
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
    """A symbolic size at this number of rows."""
    expression = sympy.sympify(expression_of(size) if isinstance(size, torch.SymInt) else int(size))
    return int(expression.subs({symbol: rows for symbol in expression.free_symbols if str(symbol) in symbols}))


def _batch_axes(node: fx.Node, symbols: frozenset[str]) -> tuple[int, ...] | None:
    """Axes of a live value that are exactly the batch; None where the batch is folded into another size.

    Folded sizes do not tell which factor varies faster, so such a value cannot be repeated.
    """
    value = node.meta.get("val")
    if not isinstance(value, torch.Tensor):
        return ()
    dynamic = [axis for axis, size in enumerate(value.shape) if isinstance(size, torch.SymInt)]
    exact = all(symbol_of(value.shape[axis]) in symbols for axis in dynamic)
    return tuple(dynamic) if exact and len(dynamic) <= 1 else None


def descendants(graph: fx.Graph, start: fx.Node, output: fx.Node) -> set[fx.Node]:
    """The nodes on a way from `start` to `output`, without `start`."""
    after = {start}
    for node in graph.nodes:
        if any(source in after for source in node.all_input_nodes):
            after.add(node)
    wanted = {output}
    for node in reversed(graph.nodes):
        if any(user in wanted for user in node.users):
            wanted.add(node)
    return (after & wanted) - {start}


def _counted(graph: fx.Graph, after: set[fx.Node], symbols: frozenset[str]) -> set[fx.Node]:
    """What the tail reads that is made of the number of rows alone, such as every row's own number.

    It belongs to the tail: repeated with the rows it would number the first ones over and over.
    """
    valued: set[fx.Node] = set()
    for node in graph.nodes:
        reads = not SHAPE_ONLY.match(operator_name(node)) and any(source in valued for source in node.all_input_nodes)
        if node.op == "placeholder" or reads:
            valued.add(node)
    found: set[fx.Node] = set()
    for node in reversed(graph.nodes):
        read = any(user in after or user in found for user in node.users)
        made = node.op == "call_function" and node not in valued and not FILLED.match(operator_name(node))
        if read and made and _batch_axes(node, symbols) != ():
            found.add(node)
    return found


def _live_nodes(graph: fx.Graph, after: set[fx.Node], start: fx.Node) -> list[fx.Node]:
    """What the tail reads from before it, other than h and parameters, in order of execution."""
    read = {source for node in after for source in node.all_input_nodes if source not in after and source is not start}
    return [node for node in graph.nodes if node in read and node.op != "get_attr"]
