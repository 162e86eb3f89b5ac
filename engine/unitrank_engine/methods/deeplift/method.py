"""DeepLIFT's multipliers times the difference from the baseline.

s = m · (h − h′), m = ΔF/Δh by the chain rule of multipliers (arXiv:1704.02685, eqs. 3 to 5; RevealCancel: arXiv:1807.09946).
Complete at every cut. Cost: two forward passes and one backward pass of the tail; where an operation has no rule, a
quadrature of its own derivative.
"""

from typing import Any, cast

from jaxtyping import Float
from torch import Tensor

from unitrank_engine.job.context import JobContext
from unitrank_engine.job.targets import LINEAR_SCORES
from unitrank_engine.methods.batch import gradient_of
from unitrank_engine.methods.deeplift.line import Line
from unitrank_engine.methods.deeplift.lockstep import Lockstep
from unitrank_engine.methods.deeplift.quadrature import MeanJacobian
from unitrank_engine.methods.deeplift.secant import attach
from unitrank_engine.methods.method import ScoringMethod
from unitrank_schemas.methods import DeepLift, MethodBase

STEEP = (
    "the score jumps between the baseline and some examples, and its mean slope does not converge; choose a score that is linear "
    "in the outputs, such as 'logit'"
)
MISSING = (
    "the scores of some examples do not sum to the change of the target: an operation has no finite slope between the baseline and "
    "them, such as a logarithm of zero; choose another baseline, such as 'mean'"
)
WIDE = 0.1
"""A gap of this share of the change is no rounding, in half precision neither."""
UNSEEN = 1e-3
"""A change below this share of the target itself has too few digits in half precision."""


class DeepLiftMethod(ScoringMethod):
    """One batch in lockstep from the place to the target."""

    @classmethod
    def points(cls, entry: MethodBase) -> dict[float, bool]:
        return {0.0: False, 1.0: False}

    @classmethod
    def passes(cls, entry: MethodBase, context: JobContext) -> int:
        return 2

    def scores(self) -> Float[Tensor, "rows *place"]:
        batch, ends = self.batch, self.batch.ends
        split, rows = batch.context.split, len(batch.rows)
        h = ends.input.h.detach().requires_grad_()
        runs = Lockstep(split.behind, cast(DeepLift, self.entry).rules, batch.notes)
        start, end = runs.run(self._start(), split.values(h, ends.live))
        multiplier = gradient_of(self._target(start, end), h)
        batch.count(2 * rows, backward=True)
        scores: Tensor = multiplier * (ends.input.h - ends.start.h)
        if split.cut and "derivative" not in batch.notes.lists:
            self._look_at_gaps(scores)
        return scores

    def _look_at_gaps(self, scores: Float[Tensor, "rows *place"]) -> None:
        """Every rule is complete, unless an operation has no slope between its two runs, as a logarithm of zero has none."""
        ends = self.batch.ends
        f, start = ends.f.double(), ends.f_baseline.double()
        gap, change = (scores.flatten(1).double().sum(1) - (f - start)).abs(), (f - start).abs()
        if bool(((gap > WIDE * change) & (change > UNSEEN * (f.abs() + start.abs()))).any()):
            self.batch.notes.warn("degenerate_reference", MISSING)

    def _start(self) -> list[Any]:
        """The tail's inputs at the baseline: one row for all examples where they share it and nothing folds rows together."""
        batch, ends = self.batch, self.batch.ends
        if ends.live_baseline.rows == 1 and batch.context.split.separate:
            return batch.context.split.values(ends.start.h[:1], ends.live_baseline)
        return batch.context.split.values(ends.start.h, batch.live_at_baseline())

    def _target(self, start: Tensor, end: Tensor) -> Float[Tensor, " rows"]:
        """F at x; a probability goes back by its mean slope, as an operation of the model would."""
        context, fixed = self.batch.context, self.batch.ends.fixed
        if context.request.target.score in LINEAR_SCORES or not end.requires_grad:
            return context.score(end, fixed)
        line = Line.between(lambda outputs: (context.score(outputs[0], fixed),), ([start], [end.detach()]), [0], [0])
        mean = MeanJacobian(line, False, lambda: self.batch.notes.warn("degenerate_reference", STEEP))
        (f,) = attach(mean.back, [context.score(end.detach(), fixed)], [end])
        return f


FAMILY: dict[str, type[ScoringMethod]] = {"deeplift": DeepLiftMethod}
