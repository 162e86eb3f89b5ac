"""RevealCancel: what pushes a unit up and what pulls it down are carried through its nonlinearity apart.

z = r + p + n with p and n the positive and negative contributions of a linear layer's inputs (weights and changes split by
sign, changes of zero half each); y⁺ = ½[f(r+p) − f(r)] + ½[f(r+n+p) − f(r+n)], y⁻ alike, and the multipliers y⁺/p and y⁻/n
(arXiv:1704.02685, section 3.5.3; arXiv:1807.09946). Batch normalisation and dropout between the two are looked through.
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
"""Operator → where its input and its weight stand."""
_CONVOLUTIONS = "conv1d conv2d conv3d convolution conv_transpose1d conv_transpose2d conv_transpose3d"
CONVOLUTIONS = {f"aten::{name}": (0, 1) for name in _CONVOLUTIONS.split()}
AFFINE = frozenset({"aten::batch_norm", "aten::_native_batch_norm_legit_no_training", "aten::dropout", "aten::clone"})


@dataclass(frozen=True)
class Linear:
    """A linear layer whose results go through affine nodes into a nonlinearity."""

    node: fx.Node
    affine: tuple[fx.Node, ...]
    """In order of execution."""

    @property
    def dense(self) -> bool:
        return operator_name(self.node) in DENSE

    @property
    def input(self) -> fx.Node:
        found = self.node.args[self.places[0]]
        assert isinstance(found, fx.Node)
        return found

    @property
    def places(self) -> tuple[int, int]:
        return (DENSE | CONVOLUTIONS)[operator_name(self.node)]

    def contributions(self, start: Mapping[fx.Node, Any], end: Mapping[fx.Node, Any]) -> tuple[Tensor, Tensor]:
        """p and n at the nonlinearity, through which autograd goes back to the layer's input."""
        place = self.node.args[self.places[1]]
        assert isinstance(place, fx.Node)
        weight = start[place]
        p, n = contributions(self._apply, weight, end[self.input] - start[self.input])
        for node in self.affine:
            scale = self._scale(node, start)
            rising, falling = scale.clamp_min(0), scale.clamp_max(0)
            p, n = rising * p + falling * n, rising * n + falling * p
        return p, n

    def _apply(self, x: Tensor, weight: Tensor) -> Tensor:
        """The layer without its bias."""
        if operator_name(self.node) in DENSE:
            return x @ (weight.T if operator_name(self.node) == "aten::linear" else weight)
        assert callable(self.node.target)
        result: Tensor = self.node.target(x, weight, None, *self.node.args[3:])
        return result

    def _scale(self, node: fx.Node, start: Mapping[fx.Node, Any]) -> Tensor:
        """What an affine node multiplies each element by, one row of them."""
        target: Any = node.target  # whatever an operator takes
        source, *rest = (start[each] if isinstance(each, fx.Node) else each for each in node.args)
        return derivative(lambda x: tree_leaves(target(x, *rest))[0], tree_leaves(source)[0][:1])


def behind(node: fx.Node) -> list[fx.Node]:
    """What the nonlinearity that reads this node may need of what lies behind it."""
    found, waiting = [], [node]
    while waiting:
        latest = waiting.pop()
        found += latest.all_input_nodes
        if operator_name(latest) in AFFINE or "getitem" in str(latest.target):
            waiting += latest.all_input_nodes[:1]
    return found if operator_name(latest) in DENSE | CONVOLUTIONS else []


def linear_behind(node: fx.Node, varying: set[fx.Node]) -> Linear | None:
    """The linear layer that a value comes from with nothing but affine nodes between, where only its input varies."""
    affine: list[fx.Node] = []
    while operator_name(node) in AFFINE or "getitem" in str(node.target):
        if "getitem" not in str(node.target):
            affine.insert(0, node)
        before = node.args[0]
        if not isinstance(before, fx.Node):
            return None
        node = before
    name = operator_name(node)
    if name not in DENSE | CONVOLUTIONS or node not in varying or node.kwargs:
        return None
    place = (DENSE | CONVOLUTIONS)[name][0]
    if [index for index, source in enumerate(node.args) if source in varying] != [place]:
        return None
    return Linear(node, tuple(affine))


def contributions(
    apply: Callable[[Tensor, Tensor], Tensor], weight: Tensor, change: Float[Tensor, "..."]
) -> tuple[Float[Tensor, "..."], Float[Tensor, "..."]]:
    """p and n of each result: `apply` is the layer without its bias, of an input and a weight."""
    settled = change.detach()
    rising = (settled > 0).to(change.dtype) + 0.5 * (settled == 0).to(change.dtype)
    up, down = change * rising, change * (1 - rising)
    more, less = weight.clamp_min(0), weight.clamp_max(0)
    return apply(up, more) + apply(down, less), apply(down, more) + apply(up, less)


def carried(
    f: Callable[[Tensor], Tensor], r: Float[Tensor, "..."], contributions: tuple[Tensor, Tensor], value: Float[Tensor, "*z"]
) -> Float[Tensor, "*z"]:
    """The value, from which autograd goes back through p and n by their multipliers."""
    p, n = contributions
    up, down = multipliers(f, r, p.detach(), n.detach())
    through = up * p + down * n
    return through + (value - through.detach())


def multipliers(
    f: Callable[[Tensor], Tensor], r: Float[Tensor, "..."], p: Float[Tensor, "*z"], n: Float[Tensor, "*z"]
) -> tuple[Float[Tensor, "*z"], Float[Tensor, "*z"]]:
    """y⁺/p and y⁻/n; at p = 0 ½[f′(r) + f′(r + n)], and at n = 0 alike."""
    at_r, at_p, at_n, at_both = f(r), f(r + p), f(r + n), f(r + p + n)
    rise = ((at_p - at_r) + (at_both - at_n)) / 2
    fall = ((at_n - at_r) + (at_both - at_p)) / 2
    heights = at_r.abs() + at_p.abs() + at_n.abs() + at_both.abs()
    places = r.abs() + p.abs() + n.abs()
    slopes = [(derivative(f, r + own / 2) + derivative(f, r + other + own / 2)) / 2 for own, other in ((p, n), (n, p))]
    return steady(rise, p, slopes[0], heights, places), steady(fall, n, slopes[1], heights, places)
