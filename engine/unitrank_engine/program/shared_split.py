"""Passes through the places of several layers at once, for the gradient at each of them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, fx

from unitrank_engine.program.layout import lay_out_gradients
from unitrank_engine.program.linearity.frontier import Frontier, find_frontier
from unitrank_engine.program.split import Live, Split, counted_nodes, descendants, live_nodes
from unitrank_engine.program.subgraphs import extract


def with_gradient(value: Tensor) -> Tensor:
    """The value, as a leaf where autograd does not track it, for example behind a comparison."""
    differentiable = value.is_floating_point() or value.is_complex()
    return value.detach().requires_grad_() if differentiable and not value.requires_grad else value


@dataclass(frozen=True)
class SharedValues:
    """The values that one pass gives at each place, and the output of the model.

    Autograd tracks the values of the places, so that the gradient of the output at each of them
    follows from one backward pass.
    """

    places: list[Tensor]
    """The value of each place in the graph; the batch has the axis that the graph uses."""
    live: list[Live]
    """For each place, the values that its tail reads besides its own."""
    output: Tensor


class SharedSplit:
    """A graph cut at the places of several layers.

    Each pass computes the values of all places and the output. Values that no place acts on are
    computed without gradients.

    `splits`: the split at each place alone, for the same output.
    """

    def __init__(self, module: fx.GraphModule, splits: Sequence[Split], output: fx.Node, symbols: frozenset[str]) -> None:
        self.splits = list(splits)
        nodes = [split.place.node for split in splits]
        after = set[fx.Node]().union(*(descendants(module.graph, node, output) for node in nodes))
        computed = after | counted_nodes(module.graph, after, symbols)
        read = {node for split in splits for node in (split.place.node, *split.live_nodes)}
        # The tail takes the values before it, and gives those behind it.
        given = [node for node in live_nodes(module.graph, computed) if node not in nodes]
        given += [node for node in module.graph.nodes if node in read and node not in computed and node not in given]
        behind = [node for node in module.graph.nodes if node in read and node in computed]
        self._given, self._behind = given, behind
        self._first = [index for index, node in enumerate(given) if node in nodes]
        self._head = extract(module, given)
        self._tail = lay_out_gradients(
            extract(
                module, [output, *behind], given=given, inputs=False, outputs=partial(_tracked, [node in nodes for node in behind])
            )
        )
        self.frontier: Frontier | None = find_frontier(module, given, symbols)

    def run(self, inputs: tuple[Tensor, ...], affine: tuple[Tensor, ...] = ()) -> SharedValues:
        """Pass these inputs through the model.

        `affine`: the values at the frontier; without them the pass computes them.
        """
        with torch.no_grad():
            given = list(self._head(*inputs) if self.frontier is None or not affine else self.frontier.behind(*inputs, *affine))
        for index in self._first:
            given[index] = given[index].detach().requires_grad_()
        with torch.enable_grad():
            output, *behind = self._tail(*given)
        values = dict(zip([*self._given, *self._behind], [*given, *behind], strict=True))
        places = [values[split.place.node] for split in self.splits]
        live = [Live(_detached(values, split), place.shape[split.place.batch_axis]) for split, place in self._pairs(places)]
        return SharedValues(places, live, output)

    def affine(self, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """The values at the frontier for these inputs; empty without a frontier."""
        return () if self.frontier is None else self.frontier.at(inputs)

    def _pairs(self, places: Sequence[Tensor]) -> Iterator[tuple[Split, Tensor]]:
        return zip(self.splits, places, strict=True)


def _detached(values: Mapping[fx.Node, Tensor | int], split: Split) -> tuple[Tensor | int, ...]:
    live = (values[node] for node in split.live_nodes)
    return tuple(value.detach() if isinstance(value, Tensor) else value for value in live)


def _tracked(is_place: Sequence[bool], graph: fx.Graph, goals: list[fx.Node]) -> tuple[fx.Node, ...]:
    """Let autograd track each place; return the goals. `is_place`: for each goal but the output."""
    tracked = dict[fx.Node, fx.Node]()
    for node, chosen in zip(goals[1:], is_place, strict=True):
        if chosen:
            with graph.inserting_after(node):
                tracked[node] = graph.call_function(with_gradient, (node,))
            tracked[node].meta = dict(node.meta)
            for user in [each for each in node.users if each is not tracked[node]]:
                user.replace_input_with(node, tracked[node])
    return tuple(tracked.get(node, node) for node in goals)
