"""Doubles the steps of a path until it is complete enough, for each example by itself, whatever its batch mates need."""

from dataclasses import dataclass, replace
from heapq import merge

import torch
from jaxtyping import Float, Int
from torch import Tensor

from unitrank_engine.methods.batch import Batch, Point
from unitrank_engine.methods.path.sums import PathSum, StepFactor, change_of_h, gradient_points
from unitrank_engine.methods.path.walk import Walk
from unitrank_schemas.methods import PathMethod

MOST_STEPS = 10_000
KEPT_BYTES = 32 * 2**20
"""Points of paths that are kept to be used again: of the examples in hand, and of those that wait. Others are computed again."""
ROUNDING = 1e-6
"""A change of F below this share of |F| + |F′| has no digit that could be met."""


class Refinement:
    """The scores of one batch whose relative completeness gap is below the method's tolerance, as far as the steps go."""

    def __init__(self, method: PathMethod, step: StepFactor, batch: Batch) -> None:
        assert method.tolerance is not None
        self.method, self.step, self.notes = method, step, batch.notes
        f, f_baseline = batch.ends.f.double(), batch.ends.f_baseline.double()
        self.change = f - f_baseline
        self.wanted = method.tolerance * self.change.abs()
        self.decidable = self.change.abs() >= ROUNDING * (f.abs() + f_baseline.abs())
        h = batch.ends.input.h
        self.result = torch.zeros_like(h, dtype=torch.promote_types(h.dtype, torch.float32))

    def scores(self, walk: Walk) -> Float[Tensor, "rows *place"]:
        waiting = [_Part(walk, torch.arange(len(self.change), device=self.change.device), self.method.steps, [])]
        while waiting:
            part = waiting.pop()
            if len(part.rows) > 1 and self._bytes(len(part.rows), part.steps) > KEPT_BYTES:
                room = KEPT_BYTES - sum(other.bytes for other in waiting)
                half, other = (part.of(positions) for positions in torch.arange(len(part.rows)).tensor_split(2))
                waiting += [half if half.bytes <= room else replace(half, known=[]), other]
            else:
                waiting += self._solve(part)
        return self.result

    def _solve(self, part: "_Part") -> list["_Part"]:
        """Writes these examples' scores with so many steps; the ones that need twice as many."""
        points, gap = self._sum(part.walk, part.rows, part.steps, part.known)
        self.notes.most("steps", part.steps)
        # no number of steps makes an infinite slope finite
        left = ((gap.abs() > self.wanted[part.rows]) & self.decidable[part.rows] & gap.isfinite()).nonzero()[:, 0]
        if not len(left):
            return []
        if 2 * part.steps > MOST_STEPS:
            self.notes.warn(
                "tolerance_not_reached",
                f"{part.steps} steps do not bring every example's relative gap below {self.method.tolerance:g}; "
                "look at completeness.relative_gap, and choose a larger tolerance or the rule 'trapezoid'",
            )
            return []
        return [replace(part, steps=2 * part.steps, known=points).of(left)]

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
        self.result[rows] = scores.total()
        return kept, flow.total().flatten(1).double().sum(1) - self.change[rows]

    def _bytes(self, rows: int, steps: int) -> int:
        """Of the values and the gradients at all points."""
        return 2 * rows * self.result[0].nbytes * (steps + 1)


@dataclass(frozen=True)
class _Part:
    """Examples that need as many steps, and the points of their paths that are known."""

    walk: Walk
    rows: Int[Tensor, " some"]
    steps: int
    known: list[Point]

    @property
    def bytes(self) -> int:
        """Of the known points."""
        return sum(tensor.nbytes for point in self.known for tensor in (point.h, point.gradient) if tensor is not None)

    def of(self, positions: Int[Tensor, " fewer"]) -> "_Part":
        """The same for some of the examples."""
        positions = positions.to(self.rows.device)
        return _Part(self.walk.of(positions), self.rows[positions], self.steps, [_of(point, positions) for point in self.known])


def _of(point: Point, positions: Tensor) -> Point:
    return Point(point.alpha, point.h[positions], None if point.gradient is None else point.gradient[positions])
