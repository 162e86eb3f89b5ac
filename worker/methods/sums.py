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
        self._total: Tensor | None = None

    @property
    def total(self) -> Float[Tensor, "rows *place"]:
        assert self._total is not None
        return self._total

    def take(self, point: Point) -> None:
        before, self._before = self._before, point
        if before is None:
            return
        if self._total is None:
            self._total = torch.zeros_like(point.h)
        slope, share = self._slope(before, point)
        step = self._step(before, point)
        # in place: on a CPU a new tensor for every product costs more than the product
        if isinstance(step, Tensor):
            self._total.addcmul_(slope, step, value=share)
        else:
            self._total.add_(slope, alpha=share * step)

    def _slope(self, left: Point, right: Point) -> tuple[Tensor, float]:
        """The gradient that stands for the interval, and what it is to be multiplied by."""
        if self._rule == "trapezoid":
            assert left.gradient is not None
            assert right.gradient is not None
            return left.gradient + right.gradient, 0.5
        gradient = left.gradient if self._rule == "left" else right.gradient
        assert gradient is not None
        return gradient, 1.0
