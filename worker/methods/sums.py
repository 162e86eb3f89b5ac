"""Sums along a path: where it is looked at, and by which rule the gradients are weighed."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from api_schemas.methods import PathMethod
from worker.methods.batch import Point

Step = Callable[[Point, Point], Tensor | float]
"""What an interval's gradient is multiplied by."""


def change_of_h(left: Point, right: Point) -> Tensor:
    return right.h - left.h


def length(left: Point, right: Point) -> float:
    return right.alpha - left.alpha


def nodes(steps: int, spacing: str | None) -> list[float]:
    """The ends of the path's intervals: α = t or α = t³ for t = 0, 1/n … 1."""
    power = 3 if spacing == "cubic" else 1
    return [(step / steps) ** power for step in range(steps + 1)]


def gradient_points(entry: PathMethod, steps: int | None = None) -> dict[float, bool]:
    """All nodes; the gradient at those whose interval the rule takes it from."""
    alphas = nodes(steps or entry.steps, entry.spacing)
    used = set({"left": alphas[:-1], "right": alphas[1:], "trapezoid": alphas}[entry.rule])
    return {alpha: alpha in used for alpha in alphas}


class PathSum:
    """Σ gradient · step over the intervals of a path, whose points are taken in ascending order."""

    def __init__(self, entry: PathMethod, step: Step) -> None:
        self._rule, self._step = entry.rule, step
        self._before: Point | None = None
        self.total: Float[Tensor, rows * place]

    def take(self, point: Point) -> None:
        before, self._before = self._before, point
        if before is None:
            self.total = torch.zeros_like(point.h)
        else:
            self.total += self._slope(before, point) * self._step(before, point)

    def _slope(self, left: Point, right: Point) -> Tensor:
        """The gradient that stands for the interval."""
        if self._rule == "trapezoid":
            assert left.gradient is not None
            assert right.gradient is not None
            return (left.gradient + right.gradient) / 2
        gradient = left.gradient if self._rule == "left" else right.gradient
        assert gradient is not None
        return gradient
