"""Places of several layers, whose units are replaced all at once.

The head computes the values of all places. The tail computes the output of the model from them; a
place keeps the value that the model computes, except for the elements that are given.
"""

from collections.abc import Mapping, Sequence
from functools import reduce

import torch
from jaxtyping import Float
from torch import Tensor, fx

from unitrank_engine.program.places import Place
from unitrank_engine.program.proof.checked_graph import CheckedGraph
from unitrank_engine.program.split import Live, Split, batch_axes, counted_nodes, descendants, live_nodes
from unitrank_engine.program.subgraphs import extract


class JointSplit(Split):
    """Head and tail of a graph at several places.

    h has the elements of all places in one axis, one place after the other. In the tail, an element
    that is NaN keeps the value that the model computes. So a replaced unit acts on the units of
    later layers.

    `module`, `output`, `symbols`, `costs`: as for `Split`.
    `splits`: the split at each place alone, for the same output.
    """

    def __init__(
        self,
        module: fx.GraphModule,
        splits: Sequence[Split],
        output: fx.Node,
        symbols: frozenset[str],
        costs: Mapping[fx.Node, int],
    ) -> None:
        self.places = [split.place for split in splits]
        dtypes = [place.node.meta["val"].dtype for place in self.places]
        self._dtype = reduce(torch.promote_types, dtypes)
        widest = max(self.places, key=lambda place: torch.finfo(place.node.meta["val"].dtype).max)
        elements = sum(place.units for place in self.places)
        self.place = Place("joint", widest.at, "", widest.node, (elements,), 0, None)
        self.cut = any(split.cut for split in splits)
        self._symbols = symbols
        after = set[fx.Node]().union(*(descendants(module.graph, place.node, output) for place in self.places))
        counted = counted_nodes(module.graph, after, symbols)
        nodes = [place.node for place in self.places]
        # A place that no other place acts on keeps one value for all masks.
        fixed = [node for node in module.graph.nodes if node in nodes and node not in after]
        self._live = [node for node in live_nodes(module.graph, after | counted) if node not in fixed] + fixed
        self._axes = [batch_axes(node, symbols) for node in self._live]
        self.repeatable = all(axes is not None for axes in self._axes)
        self._head = extract(module, [*nodes, *self._live])
        self.behind = _behind(module, self.places, self._live, after | counted, output)
        self._tail = self.behind
        self.separate = all(batch_axes(node, symbols) is not None for node in after | counted)
        self.tail_cost = sum(costs.get(node, 0) for node in after)
        self.cost = sum(costs.values())
        self.linear = False

    def unreplaced(self, h: Float[Tensor, "rows elements"]) -> Float[Tensor, "rows elements"]:
        """NaN for each element, because the model computes it behind the replaced ones."""
        return torch.full_like(h, torch.nan)

    def _result(self, *values: Tensor | int) -> tuple[Tensor, Live]:
        count, parts = len(self.places), list[Tensor]()
        for place, value in zip(self.places, values[:count], strict=True):
            assert isinstance(value, Tensor)
            parts.append(value.movedim(place.batch_axis, 0).flatten(1).to(self._dtype))
        return torch.cat(parts, dim=1), Live(values[count:], len(parts[0]))

    def values(self, h: Float[Tensor, "rows elements"], live: Live) -> list[Tensor | int]:
        """The arguments of the graph `behind`: the elements of each place, then the live values."""
        repeats, rest = divmod(len(h), live.rows)
        assert rest == 0
        assert repeats == 1 or self.repeatable
        parts = torch.split_with_sizes(h, [place.units for place in self.places], dim=1)
        given: list[Tensor | int] = [
            part.reshape(-1, *place.shape).to(place.node.meta["val"].dtype).movedim(0, place.batch_axis)
            for place, part in zip(self.places, parts, strict=True)
        ]
        return [*given, *(self._value(index, live, repeats) for index in range(len(self._live)))]


def _behind(
    module: fx.GraphModule, places: Sequence[Place], live: Sequence[fx.Node], computed: set[fx.Node], output: fx.Node
) -> CheckedGraph:
    """The graph of the tail. It takes the elements of each place, then the live values."""
    graph, copies, given = fx.Graph(), dict[fx.Node, fx.Node](), dict[fx.Node, list[fx.Node]]()
    for index, place in enumerate(places):
        elements = graph.placeholder(f"elements_{index}")
        elements.meta = dict(place.node.meta)
        # Two layers can have one value, such as a block and its last layer.
        given.setdefault(place.node, []).append(elements)
    for index, node in enumerate(live):
        copies[node] = graph.placeholder(f"given_{index}")
        copies[node].meta = dict(node.meta)
    for node in live:
        copies[node] = _replaced(graph, copies[node], given.get(node, ()))
    for node in module.graph.nodes:
        if node in computed and node not in copies:
            copies[node] = graph.node_copy(node, lambda source: copies[source])
            copies[node] = _replaced(graph, copies[node], given.get(node, ()))
        elif node.op == "get_attr" and any(user in computed for user in node.users):
            copies[node] = graph.node_copy(node)
    graph.output(copies[output])
    return CheckedGraph(module, graph)


def _replaced(graph: fx.Graph, natural: fx.Node, given: Sequence[fx.Node]) -> fx.Node:
    """The value of a place: the given elements, and the natural ones where those are NaN."""
    for elements in given:
        meta = dict(natural.meta)
        unset = graph.call_function(torch.ops.aten.isnan.default, (elements,))
        unset.meta = {**meta, "val": torch.isnan(meta["val"])}
        natural = graph.call_function(torch.ops.aten.where.self, (unset, natural, elements))
        natural.meta = meta
    return natural
