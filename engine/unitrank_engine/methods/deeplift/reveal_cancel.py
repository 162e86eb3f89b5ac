"""DeepLIFT's RevealCancel rule: positive and negative contributions pass f separately.

The argument of the nonlinearity f at x is z = r + p + n. r is its value at the baseline; p and n
are the positive and negative contributions of the linear layer before it (weights and changes split
by sign; changes of zero count half in each).

y⁺ = ½ [f(r + p) − f(r)] + ½ [f(r + n + p) − f(r + n)], and y⁻ with p and n exchanged. The
multipliers are y⁺/p and y⁻/n (arXiv:1704.02685, section 3.5.3; arXiv:1807.09946). Batch
normalisation and dropout may stand between the linear layer and f.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from jaxtyping import Float
from torch import Tensor, fx

from unitrank_engine.methods.deeplift.rescale import derivative, steady
from unitrank_engine.program.nodes import operator_name
from unitrank_engine.torch_private import tree_leaves

DENSE = {"aten::linear": (0, 1), "aten::addmm": (1, 2), "aten::mm": (0, 1), "aten::matmul": (0, 1)}
"""Operator → positions of its input and of its weight among the arguments."""
_CONVOLUTIONS = "conv1d conv2d conv3d convolution conv_transpose1d conv_transpose2d conv_transpose3d"
CONVOLUTIONS = {f"aten::{name}": (0, 1) for name in _CONVOLUTIONS.split()}
AFFINE = {
    "aten::batch_norm": 0,
    "aten::_native_batch_norm_legit_no_training": 0,
    "aten::addcmul": 1,
    "aten::dropout": 0,
    "aten::clone": 0,
}
"""Operator → position of the argument that it scales and shifts.

`program.batch_norm` replaces batch norms by `addcmul`.
"""


@dataclass(frozen=True)
class Linear:
    """A linear layer whose result reaches a nonlinearity through affine nodes only."""

    node: fx.Node
    affine: tuple[fx.Node, ...]
    """The affine nodes in order of execution, such as batch normalisation and dropout."""

    @property
    def dense(self) -> bool:
        """Whether the layer is dense, not a convolution."""
        return operator_name(self.node) in DENSE

    @property
    def input(self) -> fx.Node:
        source = self.node.args[self.places[0]]
        assert isinstance(source, fx.Node)
        return source

    @property
    def places(self) -> tuple[int, int]:
        """Positions of the input and of the weight among the arguments."""
        return (DENSE | CONVOLUTIONS)[operator_name(self.node)]

    def contributions(self, start: Mapping[fx.Node, Any], end: Mapping[fx.Node, Any]) -> tuple[Tensor, Tensor]:
        """Return p and n at the nonlinearity, with a backward pass to the layer's input.

        `start`, `end`: the nodes' values at the baseline and at x.
        """
        weight_node = self.node.args[self.places[1]]
        assert isinstance(weight_node, fx.Node)
        weight = start[weight_node]
        p, n = contributions(self._apply, weight, end[self.input] - start[self.input])
        for node in self.affine:
            scale = self._scale(node, start)
            rising, falling = scale.clamp_min(0), scale.clamp_max(0)
            p, n = rising * p + falling * n, rising * n + falling * p
        return p, n

    def _apply(self, x: Tensor, weight: Tensor) -> Tensor:
        """Apply the layer with this weight and without its bias."""
        if operator_name(self.node) in DENSE:
            return x @ (weight.T if operator_name(self.node) == "aten::linear" else weight)
        assert callable(self.node.target)
        result: Tensor = self.node.target(x, weight, None, *self.node.args[3:])
        return result

    def _scale(self, node: fx.Node, start: Mapping[fx.Node, Any]) -> Tensor:
        """Return the factor by which an affine node multiplies each element, in a single row."""
        target: Any = node.target  # Any: operators differ in their arguments
        arguments = [start[each] if isinstance(each, fx.Node) else each for each in node.args]
        place = AFFINE[operator_name(node)]
        source = tree_leaves(arguments[place])[0][:1]
        return derivative(lambda x: tree_leaves(target(*arguments[:place], x, *arguments[place + 1 :]))[0], source)


def reads(node: fx.Node) -> list[fx.Node]:
    """Return the nodes whose values RevealCancel may read for the nonlinearity after `node`."""
    sources, waiting = [], [node]
    while waiting:
        latest = waiting.pop()
        sources += latest.all_input_nodes
        if operator_name(latest) in AFFINE or "getitem" in str(latest.target):
            before = latest.args[AFFINE.get(operator_name(latest), 0)]
            waiting += [before] if isinstance(before, fx.Node) else []
    return sources if operator_name(latest) in DENSE | CONVOLUTIONS else []


def linear_before(node: fx.Node, varying: set[fx.Node]) -> Linear | None:
    """Return the linear layer that a value comes from, through affine nodes only.

    None where another node is between them, and where an argument other than the layer's input
    varies.
    """
    affine: list[fx.Node] = []
    while operator_name(node) in AFFINE or "getitem" in str(node.target):
        place = AFFINE.get(operator_name(node), 0)
        before = node.args[place]
        if not isinstance(before, fx.Node) or not _is_fixed(node, before):
            return None
        if "getitem" not in str(node.target):
            affine.insert(0, node)
        node = before
    name = operator_name(node)
    if name not in DENSE | CONVOLUTIONS or node not in varying or node.kwargs:
        return None
    place = (DENSE | CONVOLUTIONS)[name][0]
    if [index for index, source in enumerate(node.args) if source in varying] != [place]:
        return None
    return Linear(node, tuple(affine))


def _is_fixed(node: fx.Node, before: fx.Node) -> bool:
    """Return True where all arguments but `before` are equal for all examples."""
    return all(source is before or source.op == "get_attr" for source in node.all_input_nodes)


def contributions(
    apply: Callable[[Tensor, Tensor], Tensor], weight: Tensor, change: Float[Tensor, "..."]
) -> tuple[Float[Tensor, "..."], Float[Tensor, "..."]]:
    """Return p and n of each result of a linear layer.

    `apply`: the layer without its bias, as a function of an input and a weight.
    `change`: the input at x minus the input at the baseline.
    """
    detached = change.detach()
    rising = (detached > 0).to(change.dtype) + 0.5 * (detached == 0).to(change.dtype)
    up, down = change * rising, change * (1 - rising)
    positive, negative = weight.clamp_min(0), weight.clamp_max(0)
    return apply(up, positive) + apply(down, negative), apply(down, positive) + apply(up, negative)


def with_multipliers(
    f: Callable[[Tensor], Tensor], r: Float[Tensor, "..."], contributions: tuple[Tensor, Tensor], value: Float[Tensor, "*z"]
) -> Float[Tensor, "*z"]:
    """Return the value with a backward pass through p and n by their multipliers.

    `f`: the nonlinearity. `r`: its argument at the baseline. `contributions`: p and n. `value`: f's
        result at x.
    """
    p, n = contributions
    up, down = multipliers(f, r, p.detach(), n.detach())
    through = up * p + down * n
    return through + (value - through.detach())


def multipliers(
    f: Callable[[Tensor], Tensor], r: Float[Tensor, "..."], p: Float[Tensor, "*z"], n: Float[Tensor, "*z"]
) -> tuple[Float[Tensor, "*z"], Float[Tensor, "*z"]]:
    """Return y⁺/p and y⁻/n.

    At p = 0 the first is ½ [f′(r) + f′(r + n)], and at n = 0 the second likewise.

    >>> import torch
    >>> multipliers(torch.relu, torch.tensor(0.0), torch.tensor(2.0), torch.tensor(-2.0))
    (tensor(0.5000), tensor(0.5000))
    """
    at_r, at_p, at_n, at_both = f(r), f(r + p), f(r + n), f(r + p + n)
    rise = ((at_p - at_r) + (at_both - at_n)) / 2
    fall = ((at_n - at_r) + (at_both - at_p)) / 2
    heights = at_r.abs() + at_p.abs() + at_n.abs() + at_both.abs()
    places = r.abs() + p.abs() + n.abs()
    slopes = [(derivative(f, r + part / 2) + derivative(f, r + rest + part / 2)) / 2 for part, rest in ((p, n), (n, p))]
    return steady(rise, p, slopes[0], heights, places), steady(fall, n, slopes[1], heights, places)
