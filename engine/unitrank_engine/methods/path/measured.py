"""Sums along a path, together with the gap that shows whether the path's points resolve it."""

from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from unitrank_engine.methods.batch import PathGap, Point
from unitrank_engine.methods.path.sums import PathSum, StepFactor, change_of_h, nodes
from unitrank_engine.methods.path.walk import Section, Walk
from unitrank_engine.methods.position import Position
from unitrank_schemas.methods import PathMethod


class MeasuredSum:
    """Sums a method's scores along a path, and Σ ∂F/∂h · Δh, which is the change of F at a cut.

    `step`: the factor of an interval's gradient in the scores.
    `complete`: whether Σ ∂F/∂h · Δh over all units is the change of F along the path. Where it is
        not, the gap is estimated: it is the difference to the sum with half of the steps.
    """

    def __init__(self, method: PathMethod, step: StepFactor, *, complete: bool) -> None:
        self._scores = PathSum(method, step)
        self._flow = None if step is change_of_h else PathSum(method, change_of_h)
        self._half = None if complete else PathSum(method, change_of_h)
        alphas = nodes(method.steps, method.spacing)
        self._half_alphas = {*alphas[::2], alphas[-1]}

    def share_steps(self, other: "MeasuredSum") -> None:
        """Use the steps of the sum of another target, whose points have the same h."""
        for mine, its in ((self._scores, other._scores), (self._flow, other._flow), (self._half, other._half)):
            if mine is not None and its is not None:
                mine.steps = its.steps

    def take(self, point: Point) -> None:
        """Add the next point of the path."""
        self._scores.take(point)
        if self._flow is not None:
            self._flow.take(point)
        if self._half is not None and point.alpha in self._half_alphas:
            self._half.take(point)

    def total(self, change: Float[Tensor, " rows"]) -> tuple[Float[Tensor, "rows *place"], PathGap]:
        """Return the scores and the gap. Call it once, after the last point.

        `change`: F at the end of the path minus F at its start.
        """
        scores = self._scores.total()
        flow = over_units(scores if self._flow is None else self._flow.total())
        if self._half is None:
            return scores, PathGap.measured(flow, change)
        # A place that is not a cut can carry more than the change of F: other ways take it back.
        return scores, PathGap((flow - over_units(self._half.total())).abs(), torch.maximum(change.abs(), flow.abs()))


def gap_of_sections(walk: Walk, method: PathMethod) -> Float[Tensor, " rows"]:
    """Return |ΔF − Σ ∂F/∂v · Δv| at the method's points, v being h and the values around it.

    It is the larger one of the method's rule and of `trapezoid`: the rule `right` can give all of
    ΔF to the values around h, because it never sees the gradient at x′.
    """
    rules = {method.rule: method, "trapezoid": method.model_copy(update={"rule": "trapezoid"})}
    rows, device = len(walk.fixed.classes), walk.fixed.classes.device
    sections = [walk.section(Position.at(alpha, rows, device)) for alpha in nodes(method.steps, method.spacing)]
    change = sections[-1].f - sections[0].f
    gaps = [(change - sum(_flows(sections, each), torch.zeros_like(change))).abs() for each in rules.values()]
    return torch.stack(gaps).amax(0)


def _flows(sections: Sequence[Section], method: PathMethod) -> Iterator[Float[Tensor, " rows"]]:
    """Yield Σ ∂F/∂v · Δv of each value v."""
    for index in range(len(sections[0].values)):
        flow = PathSum(method, change_of_h)
        for section in sections:
            flow.take(Point(0.0, section.values[index], section.gradients[index]))
        yield over_units(flow.total())


def over_units(values: Float[Tensor, "rows *place"]) -> Float[Tensor, " rows"]:
    """Return the sum over all units of each example, in float64."""
    return values.double().sum(tuple(range(1, values.dim())))
