"""The mean Jacobian of any operator along the line between the two runs, by a quadrature that is refined until it is complete."""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from unitrank_engine.methods.deeplift.line import Line, along, select, sums

TURNS = 256
"""Pieces that are looked at before an example is given up: a kink takes about 40 in float32."""
MISSED = 1e-4
"""A relative gap that no rounding explains."""


class MeanJacobian:
    """Takes gradients of an operator's results back to those of its arguments.

    An example whose line is not complete in one piece goes through it in pieces, each halved until its contributions sum to
    what the results change by on it. So a kink, a steep step or a singular end costs about 20 halvings wherever it lies, and
    what an example gets does not depend on its mates.
    """

    def __init__(self, line: Line, alone: bool, missed: Callable[[], None]) -> None:
        self.line = line
        self.rows = line.rows
        self.alone = alone and self.rows is not None
        """Whether some examples can go through the operator without the others."""
        self.missed = missed
        """Called where the narrowest pieces are not complete either."""
        self.eps, fine = torch.finfo(line.change[0].dtype).eps, torch.finfo(torch.float64).eps
        # as near to rounding as the pieces, which are taken in float64, can come
        self.tolerance, self.rounding = max(self.eps**0.95, fine**0.85), max(self.eps / 4, 2 * fine)

    def back(self, *gradients: Tensor) -> list[Tensor]:
        line, count = self.line, self.rows or 1
        low = torch.zeros(count, dtype=torch.float64, device=line.change[0].device)
        high = torch.ones_like(low)
        (before, lower), (after, upper) = (line.height(t, gradients) for t in (low, high))
        found = line.slope(low, high, gradients)
        total, size = sums(found, line.change, line.axes, count)
        reach = [2 * start.abs() + rise.abs() for start, rise in zip(line.start, line.change, strict=True)]
        # of which the results and the arguments are known but for their rounding
        values = lower + upper + sums(found, reach, line.axes, count)[1]
        scale = size + (after - before).abs()
        bound = self.tolerance * scale + self.rounding * values
        incomplete = (total - (after - before)).abs() > bound
        if bool(incomplete.any()):
            self._refine(found, gradients, incomplete, bound)
            total, _ = sums(found, line.change, line.axes, count)
            if bool(((total - (after - before)).abs() > MISSED * scale + 2 * self.eps * values).any()):
                self.missed()
        return found

    def _refine(self, found: list[Tensor], gradients: Sequence[Tensor], incomplete: Tensor, bound: Float[Tensor, " rows"]) -> None:
        """Exchanges the slopes of incomplete examples for those in pieces, in float64: the steps of a narrow piece of a steep
        softmax are no longer than float32 rounds its scores.
        """
        low = torch.where(incomplete, 0.0, 1.0).double()
        width, height = torch.full_like(low, 0.5), torch.zeros_like(low)
        for each, axis in zip(found, self.line.axes, strict=True):
            each.copy_(torch.where(along(low, each, axis) > 0, each, 0.0))
        for turn in range(TURNS):
            rows = (low < 1).nonzero()[:, 0]
            if not len(rows):
                return
            line, seeds = self._of(rows, gradients)
            chosen = rows if self.alone else torch.arange(len(low), device=low.device)
            at = low[chosen]
            until = (at + width[chosen]).clamp_max(1) if turn < TURNS - 1 else torch.ones_like(at)
            piece = line.slope(at, until, seeds)
            there, _ = line.height(until, seeds)
            if turn == 0:
                height[chosen] = line.height(at, seeds)[0]
            gap = (sums(piece, line.change, line.axes, len(at))[0] - (there - height[chosen])).abs()
            taken = (gap <= bound[chosen]) | (until - at <= self.tolerance / 4) | (turn == TURNS - 1)
            for total, part, axis in zip(found, piece, line.axes, strict=True):
                _add(total, torch.where(along(taken.double(), part, axis) > 0, part, 0.0).to(total.dtype), chosen, axis)
            low[chosen] = torch.where(taken, until, at)
            height[chosen] = torch.where(taken, there, height[chosen])
            width[chosen] *= torch.where(taken, 2.0, 0.5)

    def _of(self, rows: Int[Tensor, " chosen"], gradients: Sequence[Tensor]) -> tuple[Line, Sequence[Tensor]]:
        if not self.alone:
            return self.line.precise(), gradients
        return self.line.of(rows).precise(), select(gradients, rows, self.line.result_axes)


def _add(total: Tensor, part: Tensor, rows: Int[Tensor, " chosen"], axis: int | None) -> None:
    if axis is None:
        total += part
    else:
        total.index_add_(axis, rows if part.shape[axis] == len(rows) else torch.arange(part.shape[axis], device=rows.device), part)
