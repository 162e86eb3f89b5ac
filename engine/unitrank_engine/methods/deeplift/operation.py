"""One node of the graph at both ends of the line between the runs."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, fx

from unitrank_engine.program.nodes import operator_name
from unitrank_engine.torch_private import OpOverload, argument_names, tree_flatten, tree_leaves, tree_map, tree_unflatten


class Operation:
    """A call of an operator, as a function of those of its arguments that differ between the runs.

    It holds what it is given and never what it returns, so that autograd's graph and its rules form no cycle: one through
    autograd is never collected.
    """

    def __init__(self, node: fx.Node, start: Mapping[fx.Node, Any], end: Mapping[fx.Node, Any], varying: set[fx.Node]) -> None:
        self.node = node
        self.sources = [source for source in node.all_input_nodes if source in varying]
        self._leaves, self._spec = tree_flatten((node.args, node.kwargs))
        self._start = [start[leaf] if isinstance(leaf, fx.Node) else leaf for leaf in self._leaves]
        self._end = [end[leaf] if isinstance(leaf, fx.Node) else leaf for leaf in self._leaves]
        self._places = [index for index, leaf in enumerate(self._leaves) if isinstance(leaf, fx.Node) and leaf in varying]

    @property
    def name(self) -> str:
        return operator_name(self.node) or str(self.node.target)

    def argument(self, index: int, default: Any) -> Any:
        """One of the operator's arguments, by place or by name."""
        assert isinstance(self.node.target, OpOverload)
        names = argument_names(self.node.target)
        return self.node.args[index] if index < len(self.node.args) else self.node.kwargs.get(names[index], default)

    def at_start(self) -> Any:
        return self._run(self._start)

    def at_end(self) -> Any:
        """With its own way back."""
        return self._run(self._end)

    def at_end_detached(self) -> Any:
        with torch.no_grad():
            return self._run(self._end)

    @property
    def tracked(self) -> bool:
        """Whether gradients are asked for behind it."""
        return any(isinstance(leaf, Tensor) and leaf.requires_grad for leaf in tree_leaves(self._end))

    def line(self) -> tuple[list[Tensor], list[Tensor]]:
        """The differing arguments at the baseline and at x."""
        return [self._start[place] for place in self._places], [each.detach() for each in self.line_tracked()]

    def line_tracked(self) -> list[Tensor]:
        return [self._end[place] for place in self._places]

    def both(self, index: int) -> tuple[Tensor, Tensor]:
        """A tensor argument by its place, at the baseline and at x, whether it differs or not."""
        return self._start[index], self._end[index].detach()

    def differs(self, index: int) -> bool:
        return index in self._places

    def axes(self) -> tuple[list[int | None], list[int | None]]:
        """Along which axis examples stand, of each differing argument and of each real result."""
        of_results = [_axis(value) for value in tree_leaves(self.node.meta.get("val")) if is_real(value)]
        return [_axis(self._leaves[place].meta.get("val")) for place in self._places], of_results

    def alone(self) -> bool:
        """Whether all that it is given beside the differing arguments is the same for any rows."""
        return not any(isinstance(leaf, fx.Node) and leaf.op != "get_attr" for leaf in self._others())

    def _others(self) -> list[Any]:
        return [leaf for index, leaf in enumerate(self._leaves) if index not in self._places]

    def apply(self, arguments: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """The real results for other values of the differing arguments, in their precision."""
        values = [_like(leaf, arguments[0]) for leaf in self._end]
        for place, argument in zip(self._places, arguments, strict=True):
            values[place] = argument
        return tuple(real(self._run(values)))

    def one(self, argument: Tensor) -> Tensor:
        """As a function of its only differing argument, wherever that is given."""
        return self.apply([argument] * len(self._places))[0]

    def keeps_shape(self, result: Any) -> bool:
        """Whether the result at the baseline, which may have one row for all, has the shape of its only differing argument."""
        return isinstance(result, Tensor) and result.shape == self._start[self._places[0]].shape

    def differentiable(self) -> bool:
        """Whether the operator has a derivative at all."""
        with torch.enable_grad():
            results = self.apply([argument.detach().requires_grad_() for argument in self.line_tracked()])
        return any(result.requires_grad for result in results)

    def rebuilt(self, values: Any, replacing: Sequence[Tensor]) -> Any:
        """The results with other real ones."""
        replaced = iter(replacing)
        return tree_map(lambda leaf: next(replaced) if is_real(leaf) else leaf, values)

    def _run(self, values: list[Any]) -> Any:
        args, kwargs = tree_unflatten(values, self._spec)
        assert callable(self.node.target)
        return self.node.target(*args, **kwargs)


def _like(value: Any, argument: Tensor) -> Any:
    """A real tensor in the precision of the argument."""
    return value.to(argument.dtype) if is_real(value) else value


def is_real(value: Any) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point()


def real(values: Any) -> list[Tensor]:
    """The results that are real numbers."""
    return [leaf for leaf in tree_leaves(values) if is_real(leaf)]


def _axis(value: Any) -> int | None:
    """The first axis whose size depends on the batch."""
    if not isinstance(value, Tensor):
        return None
    return next((axis for axis, size in enumerate(value.shape) if isinstance(size, torch.SymInt)), None)
