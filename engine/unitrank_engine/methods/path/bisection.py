"""Bisection puts the points of each example's path where F and h change.

The path begins with few intervals. In each round, every example halves one interval, until it has
the wanted number of intervals. It is the interval with the largest gap |ΔF − Σ ∂F/∂v · Δv|, as long
as the gaps are not small. v are the values that together carry every change of F: h, and at a place
that is not a cut also the values around it. Where the gaps are small, it is the interval with the
largest bend, Σ |Δ∂F/∂h · Δh| over the units: the scores of single units can be wrong where their
sum is right.

The rounds of all examples run in one pass. An example's points do not depend on the others.
"""

from collections.abc import Iterator
from itertools import pairwise

import torch
from jaxtyping import Float, Int
from torch import Tensor

from unitrank_engine.methods.batch import PathGap, Point
from unitrank_engine.methods.path.measured import over_units
from unitrank_engine.methods.path.sums import PathSum, StepFactor, change_of_h, nodes
from unitrank_engine.methods.path.walk import Walk
from unitrank_engine.methods.position import Position
from unitrank_schemas.methods import PathMethod

FIRST_SHARE = 8
"""The path begins with one interval for this number of steps; halving makes the others."""
SMALL_GAPS = 0.005
"""Gaps whose sum is below this share of |F(x) − F(x′)| are small."""
ROUNDING = 64
"""A gap counts at least as this many roundings of the bend.

A smaller gap can be a difference of large numbers, whose last bits depend on the batch mates.
"""
TILT = 0.01
"""Of two intervals with equal gaps, the interval closer to x′ is halved first.

Without the tilt, rounding would decide, and with it the example's batch mates.
"""


class Bisection:
    """The points of the paths of some examples, each example with points of its own."""

    def __init__(self, walk: Walk, method: PathMethod, rows: Int[Tensor, " some"]) -> None:
        self.walk, self.method = walk, method
        self.rows = rows
        """The examples' positions in the batch."""
        self._each = torch.arange(len(rows), device=rows.device)
        self.steps = 0
        """Intervals so far."""
        self._points = 0
        empty = torch.empty(0, len(rows), dtype=torch.float64, device=rows.device)
        self._values: list[Tensor] = []
        self._gradients: list[Tensor] = []
        self._f = self._from_start = self._from_end = self._gaps = self._bends = empty
        self._left = self._right = empty.long()

    @property
    def bytes(self) -> int:
        """Size of the points in memory."""
        return sum(tensor.nbytes for tensor in (*self._values, *self._gradients))

    def of(self, chosen: Int[Tensor, " fewer"]) -> "Bisection":
        """Return the bisection of only these of its examples."""
        fewer = Bisection(self.walk.of(chosen), self.method, self.rows[chosen])
        fewer.steps, fewer._points = self.steps, self._points
        fewer._values, fewer._gradients = ([tensor[:, chosen] for tensor in each] for each in (self._values, self._gradients))
        for name in ("_f", "_from_start", "_from_end", "_gaps", "_bends", "_left", "_right"):
            setattr(fewer, name, getattr(self, name)[:, chosen])
        return fewer

    def extend(self, steps: int) -> None:
        """Halve intervals until there are this many."""
        self._reserve(steps)
        if not self.steps:
            self._begin(min(steps, max(2, steps // FIRST_SHARE)))
        while self.steps < steps:
            worst = self._worst()
            left, right = self._left[worst, self._each], self._right[worst, self._each]
            middle = self._add(self._position(left).middle(self._position(right)))
            self._right[worst, self._each] = middle
            self._gaps[worst, self._each], self._bends[worst, self._each] = self._gap(left, middle), self._bend(left, middle)
            self._append(middle, right)

    def total(self, step: StepFactor) -> tuple[Float[Tensor, "some *place"], PathGap]:
        """Return the sums of gradient · step over the intervals, and the gaps of the paths."""
        scores, half = PathSum(self.method, step), PathSum(self.method, step)
        for number, point in enumerate(self._ascending()):
            scores.take(point)
            if number % 2 == 0 or number == self.steps:
                half.take(point)
        total, change = scores.total(), (self._f[1] - self._f[0]).abs()
        # Half of the steps have about four times the error of a trapezoid.
        error, size = over_units((total - half.total()).abs()) / 3, over_units(total.abs())
        hidden = torch.where(size > 0, error / size * change, 0.0)
        return total, PathGap(self._gaps.sum(0).abs() if self.walk.complete else torch.zeros_like(change), change, hidden)

    def _begin(self, steps: int) -> None:
        """Add both ends and the first inner points, with the spacing `cubic`."""
        ends, inner = (0.0, 1.0), nodes(steps, "cubic")[1:-1]
        start, end, *between = (self._add(Position.at(alpha, len(self.rows), self.rows.device)) for alpha in (*ends, *inner))
        points = [start, *between, end]
        for left, right in pairwise(points):
            self._append(left, right)

    def _reserve(self, steps: int) -> None:
        """Make room for this many intervals."""

        def longer(tensor: Tensor, length: int) -> Tensor:
            return torch.cat([tensor, tensor.new_zeros(length - len(tensor), *tensor.shape[1:])])

        self._values, self._gradients = ([longer(tensor, steps + 1) for tensor in each] for each in (self._values, self._gradients))
        self._f, self._from_start, self._from_end = (
            longer(tensor, steps + 1) for tensor in (self._f, self._from_start, self._from_end)
        )
        self._left, self._right, self._gaps, self._bends = (
            longer(tensor, steps) for tensor in (self._left, self._right, self._gaps, self._bends)
        )

    def _add(self, position: Position) -> Int[Tensor, " some"]:
        """Run the model at a new point; return the point's number for each example."""
        section, number, room = self.walk.section(position), self._points, len(self._f)
        if not self._values:
            self._values, self._gradients = (
                [tensor.new_zeros(room, *tensor.shape) for tensor in each] for each in (section.values, section.gradients)
            )
        for kept, new in zip((*self._values, *self._gradients), (*section.values, *section.gradients), strict=True):
            kept[number] = new
        self._f[number], self._from_start[number], self._from_end[number] = section.f, position.from_start, position.from_end
        self._points += 1
        return torch.full_like(self._each, number)

    def _append(self, left: Int[Tensor, " some"], right: Int[Tensor, " some"]) -> None:
        """Add an interval between two points."""
        self._left[self.steps], self._right[self.steps] = left, right
        self._gaps[self.steps], self._bends[self.steps] = self._gap(left, right), self._bend(left, right)
        self.steps += 1

    def _worst(self) -> Int[Tensor, " some"]:
        """Return each example's interval with the largest gap, or bend where all gaps are small."""
        left, right = (self._position(ends[: self.steps]) for ends in (self._left, self._right))
        bends, rounding = self._bends[: self.steps], torch.finfo(self._values[0].dtype).eps
        gaps = torch.maximum(self._gaps[: self.steps].abs(), ROUNDING * rounding * bends)
        small = gaps.sum(0) <= SMALL_GAPS * (self._f[1] - self._f[0]).abs()
        errors = torch.where(small, bends, gaps) * (1 - TILT * right.from_start)
        return torch.where(left.can_be_halved(right, rounding), errors, -1.0).argmax(0)

    def _gap(self, left: Int[Tensor, " some"], right: Int[Tensor, " some"]) -> Float[Tensor, " some"]:
        """Return ΔF − Σ ∂F/∂v · Δv of an interval of each example."""
        gap = self._f[right, self._each] - self._f[left, self._each]
        for values, gradients in zip(self._values, self._gradients, strict=True):
            flow = PathSum(self.method, change_of_h)
            for point in (left, right):
                flow.take(Point(0.0, values[point, self._each], gradients[point, self._each]))
            gap = gap - over_units(flow.total())
        return gap

    def _bend(self, left: Int[Tensor, " some"], right: Int[Tensor, " some"]) -> Float[Tensor, " some"]:
        """Return Σ |Δ∂F/∂h · Δh| over the units of an interval of each example."""
        h, gradient = self._values[0], self._gradients[0]
        change = h[right, self._each] - h[left, self._each]
        return over_units((gradient[right, self._each] - gradient[left, self._each]).mul_(change).abs_())

    def _position(self, points: Tensor) -> Position:
        return Position(self._from_start[points, self._each], self._from_end[points, self._each])

    def _ascending(self) -> Iterator[Point]:
        """Yield the points of the place, from x′ to x."""
        order = Position(self._from_start, self._from_end).order().argsort(0)
        for points in order:
            yield Point(self._position(points), self._values[0][points, self._each], self._gradients[0][points, self._each])
