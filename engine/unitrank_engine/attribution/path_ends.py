"""Passes at both ends of a batch's path, the inputs x and the baselines x′.

Each batch passes once at x. A baseline that all examples share passes once, and later batches with
the same targets use that pass again.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from unitrank_engine.errors import EngineError
from unitrank_engine.job.baselines import Baselines, Inputs
from unitrank_engine.job.context import JobContext
from unitrank_engine.job.fills import expanded
from unitrank_engine.job.targets import Fixed
from unitrank_engine.methods import PathEnds, Point
from unitrank_engine.methods.batch import gradient_of
from unitrank_engine.program.split import Live


@dataclass(frozen=True, kw_only=True)
class _BaselineRun:
    """The model's values at a baseline.

    Where all examples share the baseline, `h` has one row, and `f` one for each distinct target.
    """

    targets: Fixed
    h: Tensor
    f: Tensor
    gradient: Tensor | None
    live: Live
    affine: tuple[Tensor, ...]


class EndPasses:
    """Runs batches at the two ends of their paths: the inputs x and the baselines x′.

    `needs`: α of an end (0.0 or 1.0) → whether the gradient is taken there.
    `count`: called after every pass with its rows.
    """

    def __init__(self, context: JobContext, baselines: Baselines, needs: Mapping[float, bool], count: Callable[..., None]) -> None:
        self.context = context
        self.baselines = baselines
        self.needs = needs
        self._count = count
        self._baseline_run: dict[int | None, _BaselineRun] = {}

    def of(self, rows: np.ndarray, cluster: int | None) -> PathEnds:
        """Run the examples with these dataset rows at x and at x′.

        `cluster`: the cluster that their baselines depend on, or None.

        Raises EngineError `non_finite` or `class_out_of_range`.
        """
        context, split = self.context, self.context.split
        x = context.examples.inputs(rows)
        affine = split.affine(x)
        h, live = split.head_behind(x, affine)
        # Autograd tracks h even where no method takes the gradient, because it can change the
        # rounding.
        h = _tracked(h)
        with torch.enable_grad():
            output = split.tail(h, live)
            fixed = context.fix(output.detach(), rows)
            f = context.score(output, fixed)
        self._count(len(rows), backward=self.needs[1.0])
        gradient = gradient_of(f, h) if self.needs[1.0] else None
        baseline = expanded(self.baselines.of(rows, cluster, x), len(rows))
        start = self._at_baseline(baseline, fixed, cluster)
        refuse_non_finite("the model's output", f, start.f)
        return PathEnds(
            x=x,
            baseline=baseline,
            fixed=fixed,
            input=Point(1.0, h.detach(), gradient),
            start=Point(0.0, _rows(start.h, len(rows)), start.gradient),
            f=f.detach(),
            f_baseline=start.f,
            output=output.detach(),
            live=live,
            live_baseline=start.live,
            affine=affine,
            affine_baseline=start.affine,
        )

    def _at_baseline(self, baseline: Inputs, fixed: Fixed, cluster: int | None) -> _BaselineRun:
        """Run the baseline of a batch, or take the last run where all examples share the baseline.

        A shared baseline passes forward once, and backward once for each distinct target.
        """
        rows, gradient = len(fixed.classes), self.needs[0.0]
        shared = self.baselines.shared and all(tensor.is_floating_point() for tensor in baseline)
        targets, which = fixed.distinct() if shared else (fixed, slice(None))
        start = self._baseline_run.get(cluster) if shared else None
        if start is None or not start.targets.equals(targets):
            inputs = tuple(tensor[:1] for tensor in baseline) if shared else baseline
            start = self._pass_baseline(inputs, targets, gradient)
            self._baseline_run = {cluster: start} if shared else {}
        self._count(0, backward=gradient, progress=rows)
        return replace(start, f=start.f[which], gradient=None if start.gradient is None else start.gradient[which])

    def _pass_baseline(self, inputs: Inputs, targets: Fixed, gradient: bool) -> _BaselineRun:
        split, count = self.context.split, len(targets.classes)
        affine = split.affine(inputs)
        h, live = split.head_behind(inputs, affine)
        at = _tracked(h)
        with torch.enable_grad():
            f = self.context.score(_rows(split.tail(at, live), count), targets)
        same_pass = gradient and len(h) == count
        self._count(len(h), backward=same_pass, progress=0)
        slope = gradient_of(f, at) if same_pass else self._slope(inputs, (h, live), targets) if gradient else None
        return _BaselineRun(targets=targets, h=h, f=f.detach(), gradient=slope, live=live, affine=affine)

    def _slope(self, inputs: Inputs, place: tuple[Tensor, Live], targets: Fixed) -> Tensor:
        """Return the gradient at a single baseline, one row for each target."""
        split, count = self.context.split, len(targets.classes)
        h, live = place if split.repeatable else split.head(expanded(inputs, count))
        at = _tracked(_rows(h, count))
        with torch.enable_grad():
            f = self.context.score(split.tail(at, live), targets)
        self._count(count, backward=True, progress=0)
        return gradient_of(f, at)


def _tracked(h: Tensor) -> Tensor:
    return h.detach().requires_grad_(h.is_floating_point())


def _rows(value: Tensor, rows: int) -> Tensor:
    """Repeat a single row as this number of rows, without a copy."""
    return value.expand(rows, *value.shape[1:])


def refuse_non_finite(subject: str, *values: Tensor) -> None:
    """Raise EngineError `non_finite` where a value is NaN or infinite.

    `subject` names the values in the message.
    """
    # The float64 sum is finite exactly where all values are; it takes an eighth of the time of a
    # test of each.
    if not all(bool(torch.isfinite(tensor.sum(dtype=torch.float64))) for tensor in values):
        raise EngineError(
            "non_finite",
            f"{subject} became NaN or infinite; look for a division by zero, a logarithm of zero or an overflow in the model, "
            "or choose another baseline or score",
        )
