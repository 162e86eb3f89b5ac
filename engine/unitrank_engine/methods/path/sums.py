"""Sums along a path: where it is looked at, and by which rule the gradients are weighed."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from unitrank_engine.methods.batch import Point
from unitrank_schemas.methods import PathMethod

StepFactor = Callable[[Point, Point, Tensor], Tensor | float]
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
    """Σ gradient · step over the intervals of a path, whose points are taken in ascending order.

    By the rule `trapezoid` a point's gradient stands for half of both intervals that meet there: it is weighed once, by the
    whole way from the point before to the one behind.
    """

    def __init__(self, entry: PathMethod, step: StepFactor) -> None:
        self._rule, self._step = entry.rule, step
        self._last: list[Point] = []
        """At most two."""
        self._total: Tensor | None = None
        self._room: Tensor | None = None

    def take(self, point: Point) -> None:
        if self._last:
            first, before = self._last[0], self._last[-1]
            if self._rule == "trapezoid":
                self._add(before, first, point, 0.5)
            else:
                self._add(before if self._rule == "left" else point, before, point, 1.0)
        self._last = [*self._last[-1:], point]

    def total(self) -> Float[Tensor, "rows *place"]:
        """Once, after the last point."""
        if self._rule == "trapezoid":
            self._add(self._last[-1], self._last[0], self._last[-1], 0.5)
        assert self._total is not None
        return self._total

    def _add(self, at: Point, left: Point, right: Point, share: float) -> None:
        if self._total is None or self._room is None:
            self._total, self._room = torch.zeros_like(at.h), torch.empty_like(at.h)
        assert at.gradient is not None
        # in place: on a CPU a new tensor for every difference and product costs more than they do
        step = self._step(left, right, self._room)
        if isinstance(step, Tensor):
            self._total.addcmul_(at.gradient, step, value=share)
        else:
            self._total.add_(at.gradient, alpha=share * step)
