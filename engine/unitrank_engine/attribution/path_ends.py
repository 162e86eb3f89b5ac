"""Passes at both ends of a batch's path, the inputs x and the baselines x′.

Each batch passes forward once at x, for all targets. A baseline that all examples share passes
once, and later batches with the same classes use that pass again. An example with several baselines
passes once at x, and has ends for each baseline.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from unitrank_engine.errors import EngineError
from unitrank_engine.job.baselines import KEPT_BYTES, Baselines, Inputs
from unitrank_engine.job.context import JobContext
from unitrank_engine.job.fills import expanded
from unitrank_engine.job.targets import Fixed, resembles_probabilities
from unitrank_engine.methods import PathEnds, Point
from unitrank_engine.methods.batch import Count, gradient_of, gradients_of
from unitrank_engine.program.split import Live


@dataclass(frozen=True, kw_only=True)
class _BaselineRun:
    """The model's values at a baseline, for each target.

    Where all examples share the baseline, `h` has one row, and each of `f` one for each distinct
    class and rival.
    """

    fixed: list[Fixed]
    h: Tensor
    f: list[Tensor]
    gradients: list[Tensor | None]
    live: Live
    affine: tuple[Tensor, ...]

    @property
    def nbytes(self) -> int:
        """Size of the tensors in memory, in bytes."""
        values = (self.h, *self.f, *self.gradients, *self.live.tensors, *self.affine)
        return sum(value.nbytes for value in values if isinstance(value, Tensor))


@dataclass(frozen=True)
class EndTarget:
    """A target that is explained.

    `context`: the context of the job, or of one of its classes.
    `needs`: α of an end (0.0 or 1.0) → whether the gradient is taken there.
    """

    context: JobContext
    needs: Mapping[float, bool]


class EndPasses:
    """Runs batches at the two ends of their paths: the inputs x and the baselines x′.

    `targets`: share the forward passes.
    `count`: called after every pass with its rows.
    """

    def __init__(self, targets: Sequence[EndTarget], baselines: Baselines, count: Count) -> None:
        self.targets = targets
        self.split, self.examples = targets[0].context.split, targets[0].context.examples
        self.baselines = baselines
        self._count = count
        self._baseline_runs: dict[tuple[int | None, int], _BaselineRun] = {}

    def each(self, rows: np.ndarray, cluster: int | None) -> Iterator[list[PathEnds]]:
        """Run the examples with these dataset rows at x, then at each of their baselines.

        Yield for each baseline the ends for each target.

        `cluster`: the cluster that their baselines depend on, or None.

        Raises EngineError `non_finite` or `class_out_of_range`.
        """
        x = self.examples.inputs(rows)
        affine = self.split.affine(x)
        h, live = self.split.head_behind(x, affine)
        # Autograd tracks h even where no method takes the gradient, because it can change the
        # rounding.
        h = _tracked(h)
        with torch.enable_grad():
            output = self.split.tail(h, live)
            fixed = [target.context.fix(output.detach(), rows) for target in self.targets]
            f = self._scores(output, fixed)
        gradients = self._gradients(f, h, 1.0)
        self._count(len(rows), backward=sum(gradient is not None for gradient in gradients), targets=len(f))
        h, output, probabilities = h.detach(), output.detach(), resembles_probabilities(output.detach())
        for number, baseline_of in enumerate(self.baselines.each):
            baseline = expanded(baseline_of(rows, cluster, x), len(rows))
            start = self._at_baseline(baseline, fixed, (cluster, number))
            refuse_non_finite("the model's output", *f, *start.f)
            same, start_h = _equal(x, baseline), _rows(start.h, len(rows))
            yield [
                PathEnds(
                    x=x,
                    baseline=baseline,
                    fixed=fixed[index],
                    input=Point(1.0, h, gradients[index]),
                    start=Point(0.0, start_h, start.gradients[index]),
                    f=f[index].detach(),
                    f_baseline=start.f[index],
                    output=output,
                    at_baseline=same,
                    probabilities=probabilities,
                    live=live,
                    live_baseline=start.live,
                    affine=affine,
                    affine_baseline=start.affine,
                )
                for index in range(len(self.targets))
            ]

    def _scores(self, output: Tensor, fixed: Sequence[Fixed]) -> list[Tensor]:
        return [target.context.score(output, each) for target, each in zip(self.targets, fixed, strict=True)]

    def _gradients(self, f: Sequence[Tensor], h: Tensor, end: float) -> list[Tensor | None]:
        """Return the gradient of each target that needs it at this end."""
        needed = [each for target, each in zip(self.targets, f, strict=True) if target.needs[end]]
        gradients = gradients_of(needed, h)
        return [next(gradients) if target.needs[end] else None for target in self.targets]

    def _at_baseline(self, baseline: Inputs, fixed: Sequence[Fixed], key: tuple[int | None, int]) -> _BaselineRun:
        """Run the baseline of a batch, or take the last run where all examples share the baseline.

        `key`: the cluster that the baseline depends on, or None, and the baseline's number.

        A shared baseline passes forward once, and backward once for each distinct class and rival.
        """
        rows = len(fixed[0].classes)
        shared = self.baselines.shared and all(tensor.is_floating_point() for tensor in baseline)
        distinct = [each.distinct() if shared else (each, slice(None)) for each in fixed]
        start, pairs = self._baseline_runs.get(key) if shared else None, [each for each, _ in distinct]
        if start is None or not all(one.equals(other) for one, other in zip(start.fixed, pairs, strict=True)):
            inputs = tuple(tensor[:1] for tensor in baseline) if shared else baseline
            start = self._pass_baseline(inputs, pairs)
            self._keep(key, start, shared=shared)
        self._count(0, backward=0, progress=rows * len(fixed))
        return replace(
            start,
            f=[f[which] for f, (_, which) in zip(start.f, distinct, strict=True)],
            gradients=[
                None if gradient is None else gradient[which]
                for gradient, (_, which) in zip(start.gradients, distinct, strict=True)
            ],
        )

    def _keep(self, key: tuple[int | None, int], start: _BaselineRun, *, shared: bool) -> None:
        """Keep the run of a shared baseline for later batches, where it fits in memory."""
        cluster, number = key
        self._baseline_runs = {other: run for other, run in self._baseline_runs.items() if other[0] == cluster}
        if shared and number < max(1, KEPT_BYTES // start.nbytes):
            self._baseline_runs[key] = start

    def _pass_baseline(self, inputs: Inputs, fixed: list[Fixed]) -> _BaselineRun:
        affine = self.split.affine(inputs)
        h, live = self.split.head_behind(inputs, affine)
        at = _tracked(h)
        with torch.enable_grad():
            output = self.split.tail(at, live)
            f = [
                target.context.score(_rows(output, len(each.classes)), each)
                for target, each in zip(self.targets, fixed, strict=True)
            ]
        same_pass = [len(h) == len(each.classes) for each in fixed]
        if all(same_pass):
            gradients = self._gradients(f, at, 0.0)
            self._count(len(h), backward=sum(gradient is not None for gradient in gradients), progress=0)
        else:
            self._count(len(h), backward=0, progress=0)
            gradients = [
                self._slope(target.context, inputs, (h, live), each) if target.needs[0.0] else None
                for target, each in zip(self.targets, fixed, strict=True)
            ]
        return _BaselineRun(fixed=fixed, h=h, f=[each.detach() for each in f], gradients=gradients, live=live, affine=affine)

    def _slope(self, context: JobContext, inputs: Inputs, place: tuple[Tensor, Live], fixed: Fixed) -> Tensor:
        """Return the gradient at a single baseline, one row for each class and rival."""
        split, count = self.split, len(fixed.classes)
        h, live = place if split.repeatable else split.head(expanded(inputs, count))
        at = _tracked(_rows(h, count))
        with torch.enable_grad():
            f = context.score(split.tail(at, live), fixed)
        self._count(count, backward=1, progress=0)
        return gradient_of(f, at)


def _equal(x: Inputs, baseline: Inputs) -> Tensor:
    """Return which rows of all real-valued inputs equal those of the baseline."""
    same = [(a == b).reshape(len(a), -1).all(1) for a, b in zip(x, baseline, strict=True) if a.is_floating_point()]
    return torch.stack(same).all(0) if same else torch.ones(len(x[0]), dtype=torch.bool)


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
