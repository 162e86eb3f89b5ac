"""DeepLIFT: multipliers of a backward pass, times the difference from the baseline."""

from collections.abc import Sequence
from functools import partial
from typing import Any, cast

from jaxtyping import Float
from torch import Tensor

from unitrank_engine.job.context import JobContext
from unitrank_engine.job.targets import is_linear
from unitrank_engine.methods.batch import Notes, gradients_of
from unitrank_engine.methods.deeplift.line import Line
from unitrank_engine.methods.deeplift.lockstep import Lockstep
from unitrank_engine.methods.deeplift.quadrature import MeanJacobian
from unitrank_engine.methods.deeplift.secant import attach
from unitrank_engine.methods.method import ScoringMethod
from unitrank_schemas.methods import DeepLift, MethodBase

STEEP_SCORE = (
    "the mean slope of the target's score between the baseline and some examples does not converge, because the score jumps; "
    "choose a score that is linear in the outputs, such as 'logit'"
)
INCOMPLETE = (
    "the scores of some examples do not sum to the change of the target, because an operation has no finite slope between the "
    "baseline and these examples (a logarithm of zero, for instance); choose another baseline, such as 'mean'"
)
JUMPS = (
    "the scores of some examples do not sum to the change of the target, because the model compares values, and the operations "
    "behind the comparison ({operations}) have only their derivative; exact_ablation measures the jump"
)
MOST_OPERATIONS = 3
"""Number of operations that the warning names."""
MAX_GAP = 0.1
"""Largest gap, as a share of the change of F, that rounding can explain in half precision."""
MIN_CHANGE = 1e-3
"""A smaller change of F, as a share of |F(x)| + |F(x′)|, has too few digits in half precision."""


class DeepLiftMethod(ScoringMethod):
    """s = m · (h − h′), with the multipliers m of a backward pass between two runs in lockstep."""

    _multiplier: Tensor

    @classmethod
    def points(cls, entry: MethodBase) -> dict[float, bool]:
        return {0.0: False, 1.0: False}

    @classmethod
    def passes(cls, entry: MethodBase, context: JobContext) -> int:
        return 2

    @classmethod
    def by_target(cls, methods: Sequence[ScoringMethod]) -> list[Float[Tensor, "rows units"]]:
        group = cast(Sequence[DeepLiftMethod], methods)
        batch, ends, rules = group[0].batch, group[0].batch.ends, cast(DeepLift, group[0].entry).rules
        split = batch.context.split
        several = len(batch.fills.baselines.each) > 1
        lockstep, h, end = batch.kept.get(rules, (None, None, None))
        fresh = lockstep is None
        if lockstep is None or h is None or end is None:
            h = ends.input.h.detach().requires_grad_()
            lockstep = Lockstep(split.behind, rules, Notes(), several=several)
            start, end = lockstep.run(group[0]._start(), split.values(h, ends.live))
            if lockstep.several:
                batch.kept[rules] = lockstep, h, end
        else:
            start = lockstep.again(group[0]._start())
        notes = lockstep.notes
        f = [method._target(start, end) for method in group]
        for method in group:
            method.batch.notes.take(notes)
        gradients = gradients_of(f, h, keep_graph=lockstep.several)
        for method in group:
            notes.clear()
            method._multiplier = next(gradients)
            # A rule can also warn in the backward pass of one target.
            method.batch.notes.take(notes)
        rows = len(batch.rows)
        batch.count((1 + fresh) * rows, backward=len(group), targets=len(group), progress=2 * rows * len(group))
        return super().by_target(group)

    def scores(self) -> Float[Tensor, "rows *place"]:
        ends = self.batch.ends
        scores: Tensor = self._multiplier * (ends.input.h - ends.start.h)
        if self.batch.context.cut:
            self._check_gaps(scores)
        return scores

    def _check_gaps(self, scores: Float[Tensor, "rows *place"]) -> None:
        """Warn where scores do not sum to the change of F.

        Every rule is complete, unless an operation has no finite slope between its two runs, or
        has only its derivative because it depends on a comparison.
        """
        ends, operations = self.batch.ends, sorted(self.batch.notes.lists.get("derivative", ()))
        detail = JUMPS.format(operations=", ".join(operations[:MOST_OPERATIONS])) if operations else INCOMPLETE
        f, start = ends.f.double(), ends.f_baseline.double()
        gap, change = (scores.flatten(1).double().sum(1) - (f - start)).abs(), (f - start).abs()
        if bool(((gap > MAX_GAP * change) & (change > MIN_CHANGE * (f.abs() + start.abs()))).any()):
            self.batch.notes.warn("degenerate_reference", detail)

    def _start(self) -> list[Any]:
        """Return the tail's inputs at the baseline.

        They have a single row where all examples share the baseline and every value of the tail has
        a separate axis for rows.
        """
        batch, ends = self.batch, self.batch.ends
        if ends.live_baseline.rows == 1 and batch.context.split.separate:
            return batch.context.split.values(ends.start.h[:1], ends.live_baseline)
        return batch.context.split.values(ends.start.h, batch.live_at_baseline())

    def _target(self, start: Tensor, end: Tensor) -> Float[Tensor, " rows"]:
        """Return F at x.

        A score that is not linear, such as a probability, has its mean slope in the backward pass.
        """
        context, fixed = self.batch.context, self.batch.ends.fixed
        if is_linear(context.request.target) or not end.requires_grad:
            return context.score(end, fixed)
        line = Line.between(lambda outputs: (context.score(outputs[0], fixed),), ([start], [end.detach()]), [0], [0])
        steep = partial(self.batch.notes.warn, "degenerate_reference", STEEP_SCORE)
        mean = MeanJacobian(line, separable=False, on_gap=steep)
        (f,) = attach(mean.back, [context.score(end.detach(), fixed)], [end])
        return f


FAMILY: dict[str, type[ScoringMethod]] = {"deeplift": DeepLiftMethod}
