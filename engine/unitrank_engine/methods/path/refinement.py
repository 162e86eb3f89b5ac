"""Refinement doubles the steps of each example's path until its completeness gap meets a tolerance.

The gap is |Σ s − (F(x) − F(x′))| / |F(x) − F(x′)|, where Σ s is the path's sum over all units of
the place.
"""

from dataclasses import dataclass, replace
from heapq import merge

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from unitrank_engine.methods.batch import Batch, Notes, PathEnds, PathGap, Point
from unitrank_engine.methods.path.measured import over_units
from unitrank_engine.methods.path.sums import PathSum, StepFactor, change_of_h, gradient_points
from unitrank_engine.methods.path.walk import Walk
from unitrank_engine.methods.position import Position
from unitrank_schemas.methods import PathMethod

MOST_STEPS = 10_000
KEPT_BYTES = 32 * 2**20
"""Limit of the path points that are kept for the next doubling, in bytes.

The limit applies to the examples that are computed, and separately to all examples that wait.
Points that are not kept are computed again.
"""
ROUNDING = 1e-6
"""A change of F below this share of |F(x)| + |F(x′)| is rounding, so that its gap is not tested."""


class Refinement:
    """Computes a batch's scores, doubling each example's steps as needed, up to MOST_STEPS.

    `method`: the entry with its first number of steps and its tolerance.
    `step`: the factor of an interval's gradient.
    `batch`: the examples; its notes get the largest number of steps, and a warning for a missed
        tolerance.
    """

    def __init__(self, method: PathMethod, step: StepFactor, batch: Batch) -> None:
        assert method.tolerance is not None
        self.method, self.step, self.notes = method, step, batch.notes
        self.change = batch.ends.f.double() - batch.ends.f_baseline.double()
        self.max_gap = method.tolerance * self.change.abs()
        self.decidable = decidable(batch.ends)
        h = batch.ends.input.h
        self.result = torch.zeros_like(h, dtype=torch.promote_types(h.dtype, torch.float32))
        self.flow = torch.zeros_like(self.change)
        """Σ ∂F/∂h · Δh of each example's path."""

    def scores(self, walk: Walk) -> tuple[Float[Tensor, "rows *place"], PathGap]:
        """Return the scores and gaps of all examples of the batch, in the order of its rows."""
        waiting = [_Part(walk, torch.arange(len(self.change), device=self.change.device), self.method.steps, [])]
        while waiting:
            part = waiting.pop()
            if len(part.rows) > 1 and self._bytes(len(part.rows), part.steps) > KEPT_BYTES:
                room = KEPT_BYTES - sum(queued.bytes for queued in waiting)
                first, second = (part.of(positions) for positions in torch.arange(len(part.rows)).tensor_split(2))
                waiting += [first if first.bytes <= room else replace(first, points=[]), second]
            else:
                waiting += self._solve(part)
        return self.result, PathGap.measured(self.flow, self.change)

    def _solve(self, part: "_Part") -> list["_Part"]:
        """Write the scores of a part's examples.

        Return the examples that need twice the steps, if any.
        """
        points, gap = self._sum(part.walk, part.rows, part.steps, part.points)
        self.notes.maximum("steps", part.steps)
        # More steps cannot make an infinite gradient finite.
        too_large = ((gap.abs() > self.max_gap[part.rows]) & self.decidable[part.rows] & gap.isfinite()).nonzero()[:, 0]
        if not len(too_large):
            return []
        if 2 * part.steps > MOST_STEPS:
            warn_of_tolerance(self.notes, self.method, part.steps)
            return []
        return [replace(part, steps=2 * part.steps, points=points).of(too_large)]

    def _sum(self, walk: Walk, rows: Tensor, steps: int, points: list[Point]) -> tuple[list[Point], Float[Tensor, " some"]]:
        """Write the scores of these examples.

        Return the points to keep, and each example's completeness gap.

        `points`: the points of a walk with half the steps, which are used again; may be empty.
        """
        scores, flow = PathSum(self.method, self.step), PathSum(self.method, change_of_h)
        computed = {point.alpha for point in points}
        missing = {alpha: need for alpha, need in gradient_points(self.method, steps).items() if alpha not in computed}
        keep, kept = self._bytes(len(rows), steps) <= KEPT_BYTES, []
        for point in merge(points, (point.precise() for point in walk.points(missing)), key=_alpha):
            scores.take(point)
            flow.take(point)
            if keep:
                kept.append(point)
        self.result[rows] = scores.total()
        self.flow[rows] = over_units(flow.total())
        return kept, self.flow[rows] - self.change[rows]

    def _bytes(self, rows: int, steps: int) -> int:
        """Return the bytes of h and the gradient at all points of a path with these steps."""
        return 2 * rows * self.result[0].nbytes * (steps + 1)


def decidable(ends: PathEnds) -> Bool[Tensor, " rows"]:
    """Return the examples whose change of F is more than rounding."""
    f, f_baseline = ends.f.double(), ends.f_baseline.double()
    return (f - f_baseline).abs() >= ROUNDING * (f.abs() + f_baseline.abs())


def warn_of_tolerance(notes: Notes, method: PathMethod, steps: int) -> None:
    """Warn that this number of steps is the last, and does not meet the tolerance."""
    notes.warn(
        "tolerance_not_reached",
        f"with {steps} steps the relative gap of some examples is not below the tolerance {method.tolerance:g}; "
        "see completeness.relative_gap, and choose a larger tolerance or the rule 'trapezoid'",
    )


@dataclass(frozen=True)
class _Part:
    """Examples with the same number of steps, and the computed points of their paths."""

    walk: Walk
    rows: Int[Tensor, " some"]
    """The examples' positions in the batch."""
    steps: int
    points: list[Point]

    @property
    def bytes(self) -> int:
        """Size of the points in memory."""
        return sum(tensor.nbytes for point in self.points for tensor in (point.h, point.gradient) if tensor is not None)

    def of(self, positions: Int[Tensor, " fewer"]) -> "_Part":
        """Return the part of only these examples."""
        positions = positions.to(self.rows.device)
        return _Part(self.walk.of(positions), self.rows[positions], self.steps, [_of(point, positions) for point in self.points])


def _alpha(point: Point) -> float:
    """Return the α that all examples share."""
    assert not isinstance(point.alpha, Position)
    return point.alpha


def _of(point: Point, positions: Tensor) -> Point:
    return Point(point.alpha, point.h[positions], None if point.gradient is None else point.gradient[positions])
