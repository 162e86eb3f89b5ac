"""Doubles the steps of a path until it is complete enough, for each example by itself, whatever its batch mates need."""

from heapq import merge

import torch
from jaxtyping import Float, Int
from torch import Tensor

from api_schemas.methods import PathMethod
from worker.methods.batch import Batch, Point
from worker.methods.sums import PathSum, Step, change_of_h, gradient_points
from worker.methods.walk import Walk

MOST_STEPS = 10_000
KEPT_BYTES = 64 * 2**20
"""Points of a path that are kept to be used again; where one example has more, they are computed again."""
ROUNDING = 1e-6
"""A change of F below this share of |F| + |F′| has no digit that could be met."""


class Refinement:
    """The scores of one batch whose relative completeness gap is below the method's tolerance, as far as the steps go."""

    def __init__(self, method: PathMethod, step: Step, batch: Batch) -> None:
        assert method.tolerance is not None
        self.method, self.step, self.notes = method, step, batch.notes
        f, f_baseline = batch.ends.f.double(), batch.ends.f_baseline.double()
        self.change = f - f_baseline
        self.wanted = method.tolerance * self.change.abs()
        self.decidable = self.change.abs() >= ROUNDING * (f.abs() + f_baseline.abs())
        h = batch.ends.input.h
        self.result = torch.zeros_like(h, dtype=torch.promote_types(h.dtype, torch.float32))

    def scores(self, walk: Walk) -> Float[Tensor, "rows *place"]:
        self._solve(walk, torch.arange(len(self.change), device=self.change.device), self.method.steps, [])
        return self.result

    def _solve(self, walk: Walk, rows: Int[Tensor, " some"], steps: int, known: list[Point]) -> None:
        """Writes these examples' scores with so many steps, and those of the ones that need it with twice as many."""
        if len(rows) > 1 and self._bytes(len(rows), steps) > KEPT_BYTES:
            for half in torch.arange(len(rows), device=rows.device).tensor_split(2):
                self._solve(walk.of(half), rows[half], steps, [_of(point, half) for point in known])
            return
        points, gap = self._sum(walk, rows, steps, known)
        self.notes.most("steps", steps)
        left = ((gap.abs() > self.wanted[rows]) & self.decidable[rows]).nonzero()[:, 0]
        if not len(left):
            return
        if 2 * steps > MOST_STEPS:
            self.notes.warn(
                "tolerance_not_reached",
                f"{steps} steps do not bring every example's relative gap below {self.method.tolerance:g}; "
                "look at completeness.relative_gap, and choose a larger tolerance or the rule 'trapezoid'",
            )
            return
        points = [_of(point, left) for point in points]
        self._solve(walk.of(left), rows[left], 2 * steps, points)

    def _sum(self, walk: Walk, rows: Tensor, steps: int, known: list[Point]) -> tuple[list[Point], Float[Tensor, " some"]]:
        """Writes the scores; the points as far as they are kept, and each example's completeness gap."""
        scores, flow = PathSum(self.method, self.step), PathSum(self.method, change_of_h)
        seen = {point.alpha for point in known}
        missing = {alpha: need for alpha, need in gradient_points(self.method, steps).items() if alpha not in seen}
        keep, kept = self._bytes(len(rows), steps) <= KEPT_BYTES, []
        for point in merge(known, (point.precise() for point in walk.points(missing)), key=lambda point: point.alpha):
            scores.take(point)
            flow.take(point)
            if keep:
                kept.append(point)
        self.result[rows] = scores.total
        return kept, flow.total.flatten(1).double().sum(1) - self.change[rows]

    def _bytes(self, rows: int, steps: int) -> int:
        """Of the values and the gradients at all points."""
        return 2 * rows * self.result[0].nbytes * (steps + 1)


def _of(point: Point, positions: Tensor) -> Point:
    return Point(point.alpha, point.h[positions], None if point.gradient is None else point.gradient[positions])
