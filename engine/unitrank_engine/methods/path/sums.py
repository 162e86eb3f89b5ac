"""Sums along a path: its points, and the rule that weighs the gradients at them."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from unitrank_engine.methods.batch import Point
from unitrank_engine.methods.position import Position
from unitrank_schemas.methods import PathMethod

StepFactor = Callable[[Point, Point, Tensor], Tensor | float]
"""Takes the left and the right end of an interval; returns the factor of its gradient.

A tensor is written into the third argument, which spares an allocation.
"""


def change_of_h(left: Point, right: Point, out: Tensor) -> Tensor:
    """Return h(right) − h(left), written into `out`."""
    return torch.sub(right.h, left.h, out=out)


def length(left: Point, right: Point, out: Tensor) -> Tensor | float:
    """Return α(right) − α(left)."""
    if isinstance(left.alpha, Position):
        assert isinstance(right.alpha, Position)
        return (right.alpha - left.alpha).to(out.dtype).reshape(-1, *[1] * (out.dim() - 1))
    assert not isinstance(right.alpha, Position)
    return right.alpha - left.alpha


def nodes(steps: int, spacing: str | None) -> list[float]:
    """Return the ends of the intervals: α = t, or t³ with spacing `cubic`, for t = 0, 1/steps … 1.

    >>> nodes(2, "cubic")
    [0.0, 0.125, 1.0]
    """
    power = 3 if spacing == "cubic" else 1
    return [(step / steps) ** power for step in range(steps + 1)]


def gradient_points(entry: PathMethod, steps: int | None = None) -> dict[float, bool]:
    """Return α of every node, and whether the entry's rule uses the gradient there.

    `steps`: number of intervals; by default the entry's.
    """
    alphas = nodes(steps or entry.steps, entry.spacing)
    used = set({"left": alphas[:-1], "right": alphas[1:], "trapezoid": alphas}[entry.rule])
    return {alpha: alpha in used for alpha in alphas}


class SharedSteps:
    """Computes the step of an interval once for the sums of several targets.

    `step`: the factor of an interval's gradient. A tensor stays valid until the next interval.
    """

    def __init__(self, step: StepFactor) -> None:
        self._step = step
        self._ends: tuple[Tensor, Tensor] | None = None
        """h at both ends of the interval."""
        self._buffer: Tensor | None = None
        self._value: Tensor | float = 0.0

    def of(self, left: Point, right: Point) -> Tensor | float:
        """Return the step between two points. Targets with the same path share the points' h."""
        if self._ends is None or self._ends[0] is not left.h or self._ends[1] is not right.h:
            # In place, because on a CPU the allocation of a new tensor costs more than the
            # arithmetic.
            self._buffer = torch.empty_like(left.h) if self._buffer is None else self._buffer
            self._value, self._ends = self._step(left, right, self._buffer), (left.h, right.h)
        return self._value


class PathSum:
    """Σ gradient · step over the intervals of a path, from its points in ascending order.

    `entry`: its rule names the end of an interval whose gradient is used: `left`, `right`, or the
        mean of both (`trapezoid`).
    `step`: the factor of an interval's gradient.

    With `trapezoid`, a point's gradient counts half in each of its two intervals. Here it is used
    once, with half the step from the previous point to the next one.

    >>> from unitrank_schemas.methods import Conductance
    >>> total = PathSum(Conductance(rule="left"), change_of_h)
    >>> for alpha in (0.0, 0.5, 1.0):  # h = 3α, and the gradient is 2 everywhere
    ...     total.take(Point(alpha, h=torch.tensor([[3 * alpha]]), gradient=torch.tensor([[2.0]])))
    >>> total.total()
    tensor([[6.]])
    """

    def __init__(self, entry: PathMethod, step: StepFactor) -> None:
        self._rule, self.steps = entry.rule, SharedSteps(step)
        self._last: list[Point] = []
        """The last two points, the earlier point first."""
        self._total: Tensor | None = None

    def take(self, point: Point) -> None:
        """Add the next point of the path."""
        if self._last:
            earlier, last = self._last[0], self._last[-1]
            if self._rule == "trapezoid":
                self._add(last, earlier, point, 0.5)
            else:
                self._add(last if self._rule == "left" else point, last, point, 1.0)
        self._last = [*self._last[-1:], point]

    def total(self) -> Float[Tensor, "rows *place"]:
        """Return the sum. Call it once, after the last point."""
        if self._rule == "trapezoid":
            self._add(self._last[-1], self._last[0], self._last[-1], 0.5)
        assert self._total is not None
        return self._total

    def _add(self, at: Point, left: Point, right: Point, share: float) -> None:
        if self._total is None:
            self._total = torch.zeros_like(at.h)
        assert at.gradient is not None
        step = self.steps.of(left, right)
        if isinstance(step, Tensor):
            self._total.addcmul_(at.gradient, step, value=share)
        else:
            self._total.add_(at.gradient, alpha=share * step)
