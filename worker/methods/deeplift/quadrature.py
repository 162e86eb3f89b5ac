"""The mean Jacobian of any operator along the line between the two runs, by a quadrature that is refined until it is complete."""

from collections.abc import Callable, Sequence
from functools import cache

import numpy as np
import torch
from torch import Tensor

Operator = Callable[[Sequence[Tensor]], tuple[Tensor, ...]]
"""The tensors that differ between the runs → the operator's results."""

LEVELS = (8, 16, 32, 64, 128, 256, 512)
MISSED = 1e-4
"""A relative gap that no rounding explains."""
MIDPOINT = (1,)
"""Exact where the operator is a product of two factors: the Jacobian is linear in t, so that its mean is that at the middle."""


@cache
def nodes(count: int) -> tuple[tuple[float, float], ...]:
    """Places and weights on [0, 1]: Gauss–Legendre in s with t = s²(3 − 2s).

    The substitution crowds the places at both ends, where a baseline of zeros leaves normalisations nearly singular.
    """
    if count == 1:
        return ((0.5, 1.0),)
    s, weights = np.polynomial.legendre.leggauss(count)
    s, weights = (s + 1) / 2, weights / 2
    return tuple(zip((s * s * (3 - 2 * s)).tolist(), (weights * 6 * s * (1 - s)).tolist(), strict=True))


class MeanJacobian:
    """Takes gradients of the operator's results back to those of its inputs."""

    def __init__(
        self,
        op: Operator,
        start: Sequence[Tensor],
        end: Sequence[Tensor],
        axes: Sequence[int | None],
        result_axes: Sequence[int | None],
        levels: Sequence[int],
        missed: Callable[[], None],
    ) -> None:
        self.op = op
        self.start, self.end = start, end
        self.axes, self.result_axes = axes, result_axes
        """Of each input and each result the axis along which examples stand."""
        self.separate = None not in (*axes, *result_axes)
        self.levels = levels
        self.missed = missed
        """Called where the last level is not complete either."""
        self.tolerance = torch.finfo(end[0].dtype).eps ** 0.85

    def back(self, gradients: Sequence[Tensor], change: Sequence[Tensor]) -> list[Tensor]:
        """`change` is that of the results. Each example takes its first level that is complete, whatever its mates need."""
        found = self._at(self.levels[0], gradients)
        if len(self.levels) == 1:
            return found
        wanted, size = self._sums(gradients, change, self.result_axes)
        done = self._complete(found, wanted, size)
        for level in self.levels[1:]:
            if bool(done.all()):
                return found
            finer = self._at(level, gradients)
            pairs = zip(found, finer, self.axes, strict=True)
            found = [torch.where(_along(done, old, axis), old, new) for old, new, axis in pairs]
            done = done | self._complete(finer, wanted, size)
        if not bool(self._complete(found, wanted, size, MISSED).all()):
            self.missed()
        return found

    def _complete(self, found: Sequence[Tensor], wanted: Tensor, size: Tensor, tolerance: float | None = None) -> Tensor:
        """Of each example, whether its contributions sum to what the results changed by."""
        changes = [end - start for start, end in zip(self.start, self.end, strict=True)]
        total, parts = self._sums(found, changes, self.axes)
        return (total - wanted).abs() <= (tolerance or self.tolerance) * (parts + size)

    def _sums(self, gradients: Sequence[Tensor], changes: Sequence[Tensor], axes: Sequence[int | None]) -> tuple[Tensor, Tensor]:
        """Σ gradient · change and the sum of its terms' sizes, by example; over all where an axis is not known."""
        total = size = torch.zeros((), dtype=torch.float64, device=self.end[0].device)
        for gradient, change, axis in zip(gradients, changes, axes, strict=True):
            terms = (gradient * change).double()
            others = [each for each in range(terms.dim()) if not self.separate or each != axis]
            total = total + (terms.sum(others) if others else terms)
            size = size + (terms.abs().sum(others) if others else terms.abs())
        return total, size

    def _at(self, count: int, gradients: Sequence[Tensor]) -> list[Tensor]:
        total = [torch.zeros_like(end) for end in self.end]
        for t, weight in nodes(count):
            point = [torch.lerp(start, end, t) for start, end in zip(self.start, self.end, strict=True)]
            for index, gradient in enumerate(vjp(self.op, point, gradients)):
                total[index] += weight * gradient
        return total


def _along(done: Tensor, tensor: Tensor, axis: int | None) -> Tensor:
    """A flag of each example, to be broadcast over the tensor."""
    if done.dim() == 0 or axis is None:
        return done
    return done.reshape([-1 if each == axis else 1 for each in range(tensor.dim())])


def vjp(op: Operator, point: Sequence[Tensor], gradients: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Gradients of the results at a point → those of the inputs."""
    with torch.enable_grad():
        leaves = [tensor.detach().requires_grad_() for tensor in point]
        results = op(leaves)
        pairs = [(result, gradient) for result, gradient in zip(results, gradients, strict=True) if result.requires_grad]
        if not pairs:
            return tuple(torch.zeros_like(leaf) for leaf in leaves)
        outputs, seeds = zip(*pairs, strict=True)
        return torch.autograd.grad(outputs, leaves, seeds, materialize_grads=True)
