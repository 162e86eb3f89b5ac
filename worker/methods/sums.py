"""Sums along a path: where it is looked at, and by which rule the gradients are weighed."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from api_schemas.methods import PathMethod
from worker.methods.batch import Point

Step = Callable[[Point, Point, Tensor], Tensor | float]
"""What an interval's gradient is multiplied by; a tensor is written into the one that is handed in."""


def change_of_h(left: Point, right: Point, out: Tensor) -> Tensor:
    return torch.sub(right.h, left.h, out=out)


def length(left: Point, right: Point, out: Tensor) -> float:
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
        self._room: Tensor | None = None

    @property
    def total(self) -> Float[Tensor, "rows *place"]:
        assert self._total is not None
        return self._total

    def take(self, point: Point) -> None:
        before, self._before = self._before, point
        if before is None:
            return
        if self._total is None or self._room is None:
            self._total, self._room = torch.zeros_like(point.h), torch.empty_like(point.h)
        # in place: on a CPU a new tensor for every difference and product costs more than they do
        step = self._step(before, point, self._room)
        for slope, share in self._slopes(before, point):
            if isinstance(step, Tensor):
                self._total.addcmul_(slope, step, value=share)
            else:
                self._total.add_(slope, alpha=share * step)

    def _slopes(self, left: Point, right: Point) -> list[tuple[Tensor, float]]:
        """The gradients that stand for the interval, and each one's share."""
        points = {"left": [left], "right": [right], "trapezoid": [left, right]}[self._rule]
        gradients = [point.gradient for point in points if point.gradient is not None]
        assert len(gradients) == len(points)
        return [(gradient, 1 / len(points)) for gradient in gradients]
