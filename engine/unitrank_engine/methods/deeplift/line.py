"""An operator along the straight line between its arguments at the baseline and at x, with a place on it for each example."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from unitrank_engine.methods.deeplift.rescale import change

Operator = Callable[[Sequence[Tensor]], tuple[Tensor, ...]]
"""The tensors that differ between the runs → the operator's results."""

Axes = Sequence[int | None]
"""Along which axis examples stand, of each tensor; None where there is no such axis."""

NODES = 8


@cache
def gauss_legendre(count: int) -> tuple[tuple[float, float], ...]:
    """Places and weights on [0, 1]."""
    s, weights = np.polynomial.legendre.leggauss(count)
    return tuple(zip(((s + 1) / 2).tolist(), (weights / 2).tolist(), strict=True))


@dataclass(frozen=True)
class Line:
    """Examples stand along an axis of each argument and of each result."""

    op: Operator
    start: list[Tensor]
    change: list[Tensor]
    axes: Axes
    result_axes: Axes

    @classmethod
    def between(cls, op: Operator, ends: tuple[Sequence[Tensor], Sequence[Tensor]], axes: Axes, result_axes: Axes) -> "Line":
        """What is infinite at one end only is held as it is at x."""
        starts, changes = [], []
        for one, end in zip(*ends, strict=True):
            start = one.expand_as(end)
            rise = change(start, end)
            starts.append(torch.where(torch.isfinite(rise), start, end))
            changes.append(torch.where(torch.isfinite(rise), rise, 0.0))
        return cls(op, starts, changes, axes, result_axes)

    @property
    def rows(self) -> int | None:
        """How many examples there are; None where some tensor does not say, or another number."""
        sizes = {None if axis is None else tensor.shape[axis] for axis, tensor in zip(self.axes, self.start, strict=True)}
        return sizes.pop() if len(sizes) == 1 and None not in self.result_axes else None

    def of(self, rows: Int[Tensor, " chosen"]) -> "Line":
        """The line of some examples."""
        start, rise = (select(each, rows, self.axes) for each in (self.start, self.change))
        return Line(self.op, start, rise, self.axes, self.result_axes)

    def precise(self) -> "Line":
        """The same in float64."""
        start, rise = ([each.double() for each in tensors] for tensors in (self.start, self.change))
        return Line(self.op, start, rise, self.axes, self.result_axes)

    def at(self, t: Float[Tensor, " rows"]) -> list[Tensor]:
        """The arguments at a t of each example."""
        parts = zip(self.start, self.change, self.axes, strict=True)
        return [start + along(t, rise, axis) * rise for start, rise, axis in parts]

    def height(self, t: Float[Tensor, " rows"], gradients: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Σ gradient · result of each example, and the sum of its terms' sizes."""
        with torch.no_grad():
            results = self.op(self.at(t))
        return sums(gradients, results, self.result_axes, len(t))

    def slope(self, low: Float[Tensor, " rows"], high: Float[Tensor, " rows"], gradients: Sequence[Tensor]) -> list[Tensor]:
        """∫ of the gradients' way back from `low` to `high`, of each example."""
        total = [torch.zeros_like(rise) for rise in self.change]
        for place, weight in gauss_legendre(NODES):
            found = vjp(self.op, self.at(low + place * (high - low)), gradients)
            for index, (gradient, axis) in enumerate(zip(found, self.axes, strict=True)):
                total[index] += along(weight * (high - low), gradient, axis) * gradient
        return total


def sums(
    left: Sequence[Tensor], right: Sequence[Tensor], axes: Axes, rows: int
) -> tuple[Float[Tensor, " rows"], Float[Tensor, " rows"]]:
    """Σ left · right of each example, and the sum of its terms' sizes; what meets a left of zero may be infinite."""
    total = torch.zeros(rows, dtype=torch.float64, device=left[0].device)
    size = torch.zeros_like(total)
    for one, other, axis in zip(left, right, axes, strict=True):
        terms = torch.where(one == 0, 0.0, one * other).double()
        by_row = terms.reshape(1, -1) if rows == 1 or axis is None else terms.movedim(axis, 0).reshape(rows, -1)
        total += by_row.sum(1)
        size += by_row.abs().sum(1)
    return total, size


def along(values: Float[Tensor, " rows"], tensor: Tensor, axis: int | None) -> Tensor:
    """A number of each example, to be broadcast over the tensor."""
    values = values.to(tensor.dtype)
    if len(values) == 1 or axis is None:
        return values.reshape([1] * tensor.dim())
    return values.reshape([-1 if each == axis else 1 for each in range(tensor.dim())])


def select(tensors: Sequence[Tensor], rows: Int[Tensor, " chosen"], axes: Axes) -> list[Tensor]:
    """Some examples of each tensor."""
    return [tensor if axis is None else tensor.index_select(axis, rows) for tensor, axis in zip(tensors, axes, strict=True)]


def vjp(op: Operator, point: Sequence[Tensor], gradients: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Gradients of the results at a point → those of the arguments."""
    with torch.enable_grad():
        leaves = [tensor.detach().requires_grad_() for tensor in point]
        results = op(leaves)
        pairs = [(result, gradient) for result, gradient in zip(results, gradients, strict=True) if result.requires_grad]
        if not pairs:
            return tuple(torch.zeros_like(leaf) for leaf in leaves)
        outputs, seeds = zip(*((result, gradient.to(result.dtype)) for result, gradient in pairs), strict=True)
        return torch.autograd.grad(outputs, leaves, seeds, materialize_grads=True)
