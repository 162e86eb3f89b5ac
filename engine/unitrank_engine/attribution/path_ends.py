"""Both ends of a batch's path: one pass at the input, and one at the baseline, which is shared where all rows share it."""

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
class _Start:
    """The model at a baseline: one row where all examples share it, one target of each kind."""

    targets: Fixed
    h: Tensor
    f: Tensor
    gradient: Tensor | None
    live: Live
    affine: tuple[Tensor, ...]


class EndPasses:
    """Passes batches at both ends of their paths."""

    def __init__(self, context: JobContext, baselines: Baselines, needs: Mapping[float, bool], count: Callable[..., None]) -> None:
        """`needs`: α of either end → whether the gradient is taken there. `count`: is called after every pass."""
        self.context = context
        self.baselines = baselines
        self.needs = needs
        self._count = count
        self._start: dict[int | None, _Start] = {}

    def of(self, rows: np.ndarray, cluster: int | None) -> PathEnds:
        """Dataset rows at the input and at the baseline. Raises EngineError `non_finite` or `class_out_of_range`."""
        context, split = self.context, self.context.split
        x = context.examples.inputs(rows)
        affine = split.affine(x)
        h, live = split.head_behind(x, affine)
        # tracked whether or not a method asks for the gradient: an operation may round differently where it is
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

    def _at_baseline(self, baseline: Inputs, fixed: Fixed, cluster: int | None) -> _Start:
        """Where all rows share it, it passes once, and once for each target where its gradient is asked for."""
        rows, gradient = len(fixed.classes), self.needs[0.0]
        one = self.baselines.shared and all(tensor.is_floating_point() for tensor in baseline)
        targets, which = fixed.distinct() if one else (fixed, slice(None))
        start = self._start.get(cluster) if one else None
        if start is None or not start.targets.equals(targets):
            inputs = tuple(tensor[:1] for tensor in baseline) if one else baseline
            start = self._pass_baseline(inputs, targets, gradient)
            self._start = {cluster: start} if one else {}
        self._count(0, backward=gradient, stands_for=rows)
        return replace(start, f=start.f[which], gradient=None if start.gradient is None else start.gradient[which])

    def _pass_baseline(self, inputs: Inputs, targets: Fixed, gradient: bool) -> _Start:
        split, count = self.context.split, len(targets.classes)
        affine = split.affine(inputs)
        h, live = split.head_behind(inputs, affine)
        at = _tracked(h)
        with torch.enable_grad():
            f = self.context.score(_rows(split.tail(at, live), count), targets)
        alone = gradient and len(h) == count
        self._count(len(h), backward=alone, stands_for=0)
        slope = gradient_of(f, at) if alone else self._slope(inputs, (h, live), targets) if gradient else None
        return _Start(targets=targets, h=h, f=f.detach(), gradient=slope, live=live, affine=affine)

    def _slope(self, inputs: Inputs, place: tuple[Tensor, Live], targets: Fixed) -> Tensor:
        """The gradient at one baseline for each of several targets."""
        split, count = self.context.split, len(targets.classes)
        h, live = place if split.repeatable else split.head(expanded(inputs, count))
        at = _tracked(_rows(h, count))
        with torch.enable_grad():
            f = self.context.score(split.tail(at, live), targets)
        self._count(count, backward=True, stands_for=0)
        return gradient_of(f, at)


def _tracked(h: Tensor) -> Tensor:
    return h.detach().requires_grad_(h.is_floating_point())


def _rows(value: Tensor, rows: int) -> Tensor:
    """One row as this number of rows."""
    return value.expand(rows, *value.shape[1:])


def refuse_non_finite(what: str, *values: Tensor) -> None:
    """Raises EngineError `non_finite`; `what` names the values for the reader."""
    # a sum in float64 is finite where all of them are, and takes an eighth of the time of a look at each
    if not all(bool(torch.isfinite(tensor.sum(dtype=torch.float64))) for tensor in values):
        raise EngineError(
            "non_finite",
            f"{what} became NaN or infinite; look for a division by zero, a logarithm of zero or an overflow in the model, "
            "or choose another baseline or score",
        )
