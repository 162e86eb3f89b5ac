"""One node of the graph at both ends of the line between the runs."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, fx
from torch.utils._pytree import tree_flatten, tree_leaves, tree_map, tree_unflatten

from worker.program.functional import operator_name


class Operation:
    """A call of an operator, as a function of those of its arguments that differ between the runs."""

    def __init__(self, node: fx.Node, start: Mapping[fx.Node, Any], end: Mapping[fx.Node, Any], varying: set[fx.Node]) -> None:
        self.node = node
        self._start, self._end = start, end
        self.sources = [source for source in node.all_input_nodes if source in varying]
        self._leaves, self._spec = tree_flatten((node.args, node.kwargs))
        self._places = [index for index, leaf in enumerate(self._leaves) if isinstance(leaf, fx.Node) and leaf in varying]

    @property
    def name(self) -> str:
        return operator_name(self.node) or str(self.node.target)

    def argument(self, index: int, default: Any) -> Any:
        """One of the operator's arguments, by place or by name."""
        assert isinstance(self.node.target, torch._ops.OpOverload)
        names = [argument.name for argument in self.node.target._schema.arguments]
        return self.node.args[index] if index < len(self.node.args) else self.node.kwargs.get(names[index], default)

    def at_start(self) -> Any:
        return self._run([self._value(self._start, leaf) for leaf in self._leaves])

    def at_end(self) -> Any:
        """With its own way back."""
        return self._run([self._value(self._end, leaf) for leaf in self._leaves])

    def at_end_detached(self) -> Any:
        with torch.no_grad():
            return self.at_end()

    @property
    def tracked(self) -> bool:
        """Whether gradients are asked for behind it."""
        return any(self.requires_gradient(source) for source in self.sources)

    def requires_gradient(self, source: fx.Node) -> bool:
        return any(isinstance(leaf, Tensor) and leaf.requires_grad for leaf in tree_leaves(self._end[source]))

    def line(self) -> tuple[list[Tensor], list[Tensor]]:
        """The differing arguments at the baseline and at x."""
        return [self._start[self._leaves[place]] for place in self._places], [each.detach() for each in self.line_tracked()]

    def line_tracked(self) -> list[Tensor]:
        return [self._end[self._leaves[place]] for place in self._places]

    def axes(self) -> tuple[list[int | None], list[int | None]]:
        """Along which axis examples stand, of each differing argument and of each real result."""
        of_results = [_axis(value) for value in tree_leaves(self.node.meta.get("val")) if _is_real(value)]
        return [_axis(self._leaves[place].meta.get("val")) for place in self._places], of_results

    def apply(self, arguments: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """The real results for other values of the differing arguments."""
        values = [self._value(self._end, leaf) for leaf in self._leaves]
        for place, argument in zip(self._places, arguments, strict=True):
            values[place] = argument
        return tuple(self.real(self._run(values)))

    def one(self, argument: Tensor) -> Tensor:
        """As a function of its only differing argument."""
        return self.apply([argument])[0]

    def is_pointwise(self, names: frozenset[str]) -> bool:
        """Whether each element of the result depends on one element of the only differing argument."""
        if operator_name(self.node) not in names or len(self._places) != 1 or not isinstance(self._start[self.node], Tensor):
            return False
        # of the start, which may have one row for all
        return bool(self._start[self.sources[0]].shape == self._start[self.node].shape)

    def choices_agree(self) -> bool:
        """Whether what is no real number is the same in both runs."""
        for source in self.node.all_input_nodes:
            start, end = self._start[source], self._end[source]
            if isinstance(end, Tensor) and not end.is_floating_point() and not torch.equal(start.expand_as(end), end):
                return False
        return True

    def differentiable(self) -> bool:
        """Whether the operator has a derivative at all, and both runs take the same branch of it."""
        with torch.enable_grad():
            results = self.apply([argument.detach().requires_grad_() for argument in self.line_tracked()])
        return self.choices_agree() and any(result.requires_grad for result in results)

    def real(self, values: Any) -> list[Tensor]:
        """The results that are real numbers."""
        return [leaf for leaf in tree_leaves(values) if _is_real(leaf)]

    def rebuilt(self, values: Any, real: Sequence[Tensor]) -> Any:
        """The results with other real ones."""
        replaced = iter(real)
        return tree_map(lambda leaf: next(replaced) if _is_real(leaf) else leaf, values)

    def _run(self, values: list[Any]) -> Any:
        args, kwargs = tree_unflatten(values, self._spec)
        assert callable(self.node.target)
        return self.node.target(*args, **kwargs)

    def _value(self, values: Mapping[fx.Node, Any], leaf: Any) -> Any:
        return values[leaf] if isinstance(leaf, fx.Node) else leaf


def _is_real(value: Any) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point()


def _axis(value: Any) -> int | None:
    """The first axis whose size depends on the batch."""
    if not isinstance(value, Tensor):
        return None
    return next((axis for axis, size in enumerate(value.shape) if isinstance(size, torch.SymInt)), None)
