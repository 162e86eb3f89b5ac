"""Conductance, which is what Neuron Integrated Gradients computes.

s = Σₜ ∂F/∂h · (h(xₜ) − h(xₜ₋₁)) along x′ → x (arXiv:1805.12233; arXiv:1807.09946, eq. 2). Complete at every cut, up to
the error of the quadrature. Cost: `steps` + 1 forward passes and `steps` backward passes, one more for `trapezoid`.
"""

from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor

from api_schemas.methods import MethodBase, PathMethod
from worker.methods.path import Method, Point, gradient_points


class Conductance(Method):
    """The sum over intervals of the gradient at the left end, the right end, or their mean, times the change of h."""

    _before: Point | None = None
    _total: Float[Tensor, "rows *place"]

    @classmethod
    def points(cls, entry: MethodBase) -> dict[float, bool]:
        return gradient_points(cast(PathMethod, entry))  # the table pairs this class with that schema

    def visit(self, point: Point) -> None:
        before, self._before = self._before, point
        if before is None:
            self._total = torch.zeros_like(point.h)
        else:
            self._total += slope(self.entry, before, point) * self.step(before, point)

    def step(self, left: Point, right: Point) -> Tensor | float:
        """What the interval's gradient is multiplied by."""
        return right.h - left.h

    def scores(self) -> Float[Tensor, "rows *place"]:
        return self._total


def slope(entry: MethodBase, left: Point, right: Point) -> Tensor:
    """The gradient that stands for the interval."""
    rule = cast(PathMethod, entry).rule
    if rule == "trapezoid":
        assert left.gradient is not None
        assert right.gradient is not None
        return (left.gradient + right.gradient) / 2
    gradient = left.gradient if rule == "left" else right.gradient
    assert gradient is not None
    return gradient
