"""An operator along the straight line from its arguments at the baseline (t = 0) to x (t = 1)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from unitrank_engine.methods.deeplift.rescale import change

Operator = Callable[[Sequence[Tensor]], tuple[Tensor, ...]]
"""Takes the arguments that differ between the runs; returns the operator's results."""

Axes = Sequence[int | None]
"""The axis of the examples in each tensor; None for a tensor without such an axis."""

NODES = 8
"""Points of a Gauss–Legendre sum on one piece of the line."""


@cache
def gauss_legendre(count: int) -> tuple[tuple[float, float], ...]:
    """Return pairs of a point and its weight on [0, 1]."""
    s, weights = np.polynomial.legendre.leggauss(count)
    return tuple(zip(((s + 1) / 2).tolist(), (weights / 2).tolist(), strict=True))


@dataclass(frozen=True)
class Line:
    """The line start + t · change of an operator's arguments.

    Each example can be at a different t.
    """

    op: Operator
    start: list[Tensor]
    """The arguments at the baseline."""
    change: list[Tensor]
    """The arguments at x minus those at the baseline."""
    axes: Axes
    """The examples' axis in each argument."""
    result_axes: Axes
    """The examples' axis in each result."""

    @classmethod
    def between(cls, op: Operator, ends: tuple[Sequence[Tensor], Sequence[Tensor]], axes: Axes, result_axes: Axes) -> "Line":
        """Return the line between the two items of `ends`: the arguments at the baseline and at x.

        If a value is infinite at one of the two ends, the value at x is used at both ends.
        """
        starts, changes = [], []
        for at_baseline, end in zip(*ends, strict=True):
            start = at_baseline.expand_as(end)
            rise = change(start, end)
            starts.append(torch.where(torch.isfinite(rise), start, end))
            changes.append(torch.where(torch.isfinite(rise), rise, 0.0))
        return cls(op, starts, changes, axes, result_axes)

    @property
    def rows(self) -> int | None:
        """The number of examples; None where a tensor has no such axis or the sizes differ."""
        sizes = {None if axis is None else tensor.shape[axis] for axis, tensor in zip(self.axes, self.start, strict=True)}
        return sizes.pop() if len(sizes) == 1 and None not in self.result_axes else None

    def of(self, rows: Int[Tensor, " chosen"]) -> "Line":
        """Return the line of only these examples."""
        start, rise = (select(each, rows, self.axes) for each in (self.start, self.change))
        return Line(self.op, start, rise, self.axes, self.result_axes)

    def precise(self) -> "Line":
        """Return the line in float64, or complex128."""
        start, rise = (list(map(_precise, tensors)) for tensors in (self.start, self.change))
        return Line(self.op, start, rise, self.axes, self.result_axes)

    def at(self, t: Float[Tensor, " rows"]) -> list[Tensor]:
        """Return the arguments at each example's t."""
        parts = zip(self.start, self.change, self.axes, strict=True)
        return [start + along(t, rise, axis) * rise for start, rise, axis in parts]

    def height(self, t: Float[Tensor, " rows"], gradients: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Return Σ gradient · result of each example, and Σ |gradient · result|."""
        with torch.no_grad():
            results = self.op(self.at(t))
        return sums(gradients, results, self.result_axes, len(t))

    def slope(self, low: Float[Tensor, " rows"], high: Float[Tensor, " rows"], gradients: Sequence[Tensor]) -> list[Tensor]:
        """Integrate the arguments' gradients over t, from each example's `low` to its `high`.

        `gradients`: the gradients of the operator's results.
        """
        total = [torch.zeros_like(rise) for rise in self.change]
        for point, weight in gauss_legendre(NODES):
            argument_gradients = vjp(self.op, self.at(low + point * (high - low)), gradients)
            for index, (gradient, axis) in enumerate(zip(argument_gradients, self.axes, strict=True)):
                total[index] += along(weight * (high - low), gradient, axis) * gradient
        return total


def sums(
    left: Sequence[Tensor], right: Sequence[Tensor], axes: Axes, rows: int
) -> tuple[Float[Tensor, " rows"], Float[Tensor, " rows"]]:
    """Return Σ left · right and Σ |left · right| of each example.

    Where left is 0, the product is 0 even if right is infinite. A complex number counts as the pair
    of its real and its imaginary part: their products are summed, as in autograd's gradients.
    """
    total = torch.zeros(rows, dtype=torch.float64, device=left[0].device)
    size = torch.zeros_like(total)
    for factor, values, axis in zip(left, right, axes, strict=True):
        terms = torch.where(factor == 0, 0.0, factor.conj() * values)
        by_row = terms.reshape(1, -1) if rows == 1 or axis is None else terms.movedim(axis, 0).reshape(rows, -1)
        total += by_row.real.double().sum(1)
        size += by_row.abs().double().sum(1)
    return total, size


def _precise(tensor: Tensor) -> Tensor:
    return tensor.to(torch.complex128 if tensor.is_complex() else torch.float64)


def along(values: Float[Tensor, " rows"], tensor: Tensor, axis: int | None) -> Tensor:
    """Reshape one number for each example so that it broadcasts over the tensor."""
    values = values.to(tensor.dtype.to_real())
    if len(values) == 1 or axis is None:
        return values.reshape([1] * tensor.dim())
    return values.reshape([-1 if each == axis else 1 for each in range(tensor.dim())])


def select(tensors: Sequence[Tensor], rows: Int[Tensor, " chosen"], axes: Axes) -> list[Tensor]:
    """Return these examples of each tensor; a tensor without an axis of examples stays whole."""
    return [tensor if axis is None else tensor.index_select(axis, rows) for tensor, axis in zip(tensors, axes, strict=True)]


def vjp(op: Operator, point: Sequence[Tensor], gradients: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Return the gradients of the arguments at a point, from the gradients of the results."""
    with torch.enable_grad():
        leaves = [tensor.detach().requires_grad_() for tensor in point]
        results = op(leaves)
        pairs = [(result, gradient) for result, gradient in zip(results, gradients, strict=True) if result.requires_grad]
        if not pairs:
            return tuple(torch.zeros_like(leaf) for leaf in leaves)
        outputs, seeds = zip(*((result, gradient.to(result.dtype)) for result, gradient in pairs), strict=True)
        return torch.autograd.grad(outputs, leaves, seeds, materialize_grads=True)
