"""The mean Jacobian of any operator along the line between the two runs, by adaptive quadrature.

m = ∫ J(start + t · change) dt for t from 0 to 1. The quadrature is refined until it is complete:
until the contributions m · change sum to the change of the operator's results.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, fx

from unitrank_engine.methods.batch import Notes
from unitrank_engine.methods.deeplift.line import Line, along, select, sums
from unitrank_engine.methods.deeplift.operation import Operation
from unitrank_engine.methods.deeplift.secant import Back
from unitrank_engine.program.nodes import operator_name

MAX_PIECES = 256
"""Largest number of pieces that are tried for an example. A kink takes about 40 in float32."""
MAX_GAP = 1e-4
"""Largest relative gap that rounding can explain."""


class MeanJacobian:
    """Carries gradients of an operator's results back to its arguments, by its mean Jacobian.

    `line`: the operator between the two runs.
    `separable`: whether some examples can run without the others.
    `on_gap`: called where an example's gap stays too large after all refinement.

    An example that is incomplete over the whole line is integrated in pieces. A piece is halved
    until its contributions sum to the change of the results over the piece. A kink, a steep step or
    a singular end takes about 20 halvings at any point of the line. An example's slope does not
    depend on the batch's other examples.

    The mean slope of x² between 0 and 2 is 2:

    >>> line = Line.between(lambda x: (x[0] ** 2,), ([torch.zeros(1)], [torch.full((1,), 2.0)]), [0], [0])
    >>> MeanJacobian(line, separable=True, on_gap=lambda: None).back(torch.ones(1))
    [tensor([2.])]
    """

    def __init__(self, line: Line, *, separable: bool, on_gap: Callable[[], None]) -> None:
        self.line = line
        self.rows = line.rows
        self.separable = separable and self.rows is not None
        self.on_gap = on_gap
        self.eps, fine = torch.finfo(line.change[0].dtype).eps, torch.finfo(torch.float64).eps
        # The smallest bounds that the pieces, which are computed in float64, can meet.
        self.tolerance, self.rounding = max(self.eps**0.95, fine**0.85), max(self.eps / 4, 2 * fine)

    def back(self, *gradients: Tensor) -> list[Tensor]:
        """Return the arguments' gradients from the gradients of the results."""
        line, count = self.line, self.rows or 1
        low = torch.zeros(count, dtype=torch.float64, device=line.change[0].device)
        high = torch.ones_like(low)
        (before, lower), (after, upper) = (line.height(t, gradients) for t in (low, high))
        slopes = line.slope(low, high, gradients)
        total, size = sums(slopes, line.change, line.axes, count)
        reach = [2 * start.abs() + rise.abs() for start, rise in zip(line.start, line.change, strict=True)]
        # The rounding of the results and of the arguments is relative to these sizes.
        values = lower + upper + sums(slopes, reach, line.axes, count)[1]
        scale = size + (after - before).abs()
        bound = self.tolerance * scale + self.rounding * values
        incomplete = (total - (after - before)).abs() > bound
        if bool(incomplete.any()):
            self._refine(slopes, gradients, incomplete, bound)
            total, _ = sums(slopes, line.change, line.axes, count)
            if bool(((total - (after - before)).abs() > MAX_GAP * scale + 2 * self.eps * values).any()):
                self.on_gap()
        return slopes

    def _refine(self, slopes: list[Tensor], gradients: Sequence[Tensor], incomplete: Tensor, bound: Float[Tensor, " rows"]) -> None:
        """Replace the slopes of incomplete examples by sums over pieces, in float64.

        In float32, the step over a narrow piece of a steep softmax is no larger than the rounding
        of its scores.
        """
        low = torch.where(incomplete, 0.0, 1.0).double()
        width, height = torch.full_like(low, 0.5), torch.zeros_like(low)
        for each, axis in zip(slopes, self.line.axes, strict=True):
            each.copy_(torch.where(along(low, each, axis) > 0, each, 0.0))
        for turn in range(MAX_PIECES):
            rows = (low < 1).nonzero()[:, 0]
            if not len(rows):
                return
            line, seeds = self._of(rows, gradients)
            chosen = rows if self.separable else torch.arange(len(low), device=low.device)
            at = low[chosen]
            until = (at + width[chosen]).clamp_max(1) if turn < MAX_PIECES - 1 else torch.ones_like(at)
            piece = line.slope(at, until, seeds)
            height_until, _ = line.height(until, seeds)
            if turn == 0:
                height[chosen] = line.height(at, seeds)[0]
            gap = (sums(piece, line.change, line.axes, len(at))[0] - (height_until - height[chosen])).abs()
            accepted = (gap <= bound[chosen]) | (until - at <= self.tolerance / 4) | (turn == MAX_PIECES - 1)
            for total, part, axis in zip(slopes, piece, line.axes, strict=True):
                _add(total, torch.where(along(accepted.double(), part, axis) > 0, part, 0.0).to(total.dtype), chosen, axis)
            low[chosen] = torch.where(accepted, until, at)
            height[chosen] = torch.where(accepted, height_until, height[chosen])
            width[chosen] *= torch.where(accepted, 2.0, 0.5)

    def _of(self, rows: Int[Tensor, " chosen"], gradients: Sequence[Tensor]) -> tuple[Line, Sequence[Tensor]]:
        """Return the line and the gradients of these examples in float64.

        Examples that are not separable stay together: then of all examples.
        """
        if not self.separable:
            return self.line.precise(), gradients
        return self.line.of(rows).precise(), select(gradients, rows, self.line.result_axes)


def _add(total: Tensor, part: Tensor, rows: Int[Tensor, " chosen"], axis: int | None) -> None:
    if axis is None:
        total += part
    else:
        total.index_add_(axis, rows if part.shape[axis] == len(rows) else torch.arange(part.shape[axis], device=rows.device), part)


def mean_slopes(notes: Notes, operation: Operation, at_start: Any) -> Back:
    """Return the backward pass of any operation. `notes`: gets a warning where it has no slope."""
    line = Line.between(operation.apply, operation.line(), *operation.axes())
    return MeanJacobian(line, separable=operation.separable(), on_gap=_warning(notes, operation.node)).back


def _warning(notes: Notes, node: fx.Node) -> Callable[[], None]:
    stack = list((node.meta.get("nn_module_stack") or {}).values())
    where = f" in layer '{stack[-1][0]}'" if stack and stack[-1][0] else ""
    return lambda: notes.warn(
        "degenerate_reference",
        f"the mean slope of {operator_name(node) or node.target}{where} between the baseline and some examples does not converge, "
        f"so scores of earlier layers may be wrong; choose another baseline, such as 'mean'",
    )
