"""One node of the graph with its arguments in both runs, at the baseline and at x."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, fx

from unitrank_engine.program.nodes import operator_name
from unitrank_engine.torch_private import OpOverload, argument_names, tree_flatten, tree_leaves, tree_map, tree_unflatten


class Operation:
    """A call of an operator, as a function of its differing arguments.

    The differing arguments are those that can differ between the runs: real or complex values that
    are computed from the graph's inputs.

    `node`: the call.
    `start`, `end`: the values of earlier nodes at the baseline and at x.
    `varying`: nodes whose values are differing arguments.

    An Operation holds arguments and never results. A result would close a cycle through autograd's
    graph, which Python's garbage collector never frees.
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
        """Return an argument by its position, also where it is given by name.

        `default` where it is not given.
        """
        assert isinstance(self.node.target, OpOverload)
        names = argument_names(self.node.target)
        return self.node.args[index] if index < len(self.node.args) else self.node.kwargs.get(names[index], default)

    def at_start(self) -> Any:
        """Return the result at the baseline."""
        return self._run(self._start)

    def at_end(self) -> Any:
        """Return the result at x, with the operator's derivative in its backward pass."""
        return self._run(self._end)

    def at_end_detached(self) -> Any:
        """Return the result at x, without a backward pass."""
        with torch.no_grad():
            return self._run(self._end)

    @property
    def tracked(self) -> bool:
        """Whether an argument at x requires gradients."""
        return any(isinstance(leaf, Tensor) and leaf.requires_grad for leaf in tree_leaves(self._end))

    def line(self) -> tuple[list[Tensor], list[Tensor]]:
        """Return the differing arguments at the baseline and at x, detached from autograd."""
        return [self._start[place] for place in self._places], [each.detach() for each in self.line_tracked()]

    def line_tracked(self) -> list[Tensor]:
        """Return the differing arguments at x, as autograd tracks them."""
        return [self._end[place] for place in self._places]

    def both(self, index: int) -> tuple[Tensor, Tensor]:
        """Return a tensor argument by its position, at the baseline and at x.

        It may be equal in both.
        """
        return self._start[index], self._end[index].detach()

    def differs(self, index: int) -> bool:
        """Return True where the argument at this position is a differing one."""
        return index in self._places

    def axes(self) -> tuple[list[int | None], list[int | None]]:
        """Return the examples' axis in each differing argument and each real or complex result."""
        of_results = [_axis(value) for value in tree_leaves(self.node.meta.get("val")) if is_continuous(value)]
        return [_axis(self._leaves[place].meta.get("val")) for place in self._places], of_results

    def separable(self) -> bool:
        """Return True where some examples can run without the others.

        That is so if no other argument depends on the rows.
        """
        return not any(isinstance(leaf, fx.Node) and leaf.op != "get_attr" for leaf in self._constants())

    def _constants(self) -> list[Any]:
        """Return the arguments that are not differing ones."""
        return [leaf for index, leaf in enumerate(self._leaves) if index not in self._places]

    def apply(self, arguments: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Return the real and complex results for these differing arguments, in their precision."""
        values = [_like(leaf, arguments[0]) for leaf in self._end]
        for place, argument in zip(self._places, arguments, strict=True):
            values[place] = argument
        return tuple(continuous(self._run(values)))

    def of_argument(self, argument: Tensor) -> Tensor:
        """Return the result for a value of the only differing argument, in all its positions."""
        return self.apply([argument] * len(self._places))[0]

    def keeps_shape(self, result: Any) -> bool:
        """Return True where the result at the baseline has the only differing argument's shape.

        Both are real: a complex function has no slope for each element.
        """
        argument = self._start[self._places[0]]
        shaped = isinstance(result, Tensor) and result.shape == argument.shape
        return shaped and not (result.is_complex() or argument.is_complex())

    def differentiable(self) -> bool:
        """Return True where the operator has a derivative."""
        with torch.enable_grad():
            results = self.apply([argument.detach().requires_grad_() for argument in self.line_tracked()])
        return any(result.requires_grad for result in results)

    def rebuilt(self, values: Any, replacing: Sequence[Tensor]) -> Any:
        """Return the results with their real and complex tensors replaced, in order."""
        replaced = iter(replacing)
        return tree_map(lambda leaf: next(replaced) if is_continuous(leaf) else leaf, values)

    def _run(self, values: list[Any]) -> Any:
        args, kwargs = tree_unflatten(values, self._spec)
        assert callable(self.node.target)
        return self.node.target(*args, **kwargs)


def _like(value: Any, argument: Tensor) -> Any:
    """Convert a real or complex tensor to the argument's precision.

    Other values are returned unchanged.
    """
    if not is_continuous(value):
        return value
    return value.to(argument.dtype.to_complex() if value.is_complex() else argument.dtype.to_real())


def is_continuous(value: Any) -> bool:
    """Return True for a tensor of real or complex numbers: they can move along a line."""
    return isinstance(value, Tensor) and (value.is_floating_point() or value.is_complex())


def continuous(values: Any) -> list[Tensor]:
    """Return the tensors of real or complex numbers among an operator's results."""
    return [leaf for leaf in tree_leaves(values) if is_continuous(leaf)]


def _axis(value: Any) -> int | None:
    """Return the first axis whose size depends on the number of rows; None without such an axis."""
    if not isinstance(value, Tensor):
        return None
    return next((axis for axis, size in enumerate(value.shape) if isinstance(size, torch.SymInt)), None)


def tracked(value: Any) -> bool:
    """Return True where a tensor of a node requires gradients."""
    return any(isinstance(leaf, Tensor) and leaf.requires_grad for leaf in tree_leaves(value))


def differ(start: Any, end: Any) -> bool:
    """Return True where a tensor of a node differs between the runs."""
    pairs = zip(tree_leaves(start), tree_leaves(end), strict=True)
    return any(isinstance(before, Tensor) and not torch.equal(before.expand_as(after), after) for before, after in pairs)
