"""Passes at both ends of a batch's path, the inputs x and the baselines x′.

Each batch passes forward once at x, for all targets. A baseline that all examples share passes
once, and later batches with the same classes use that pass again. An example with several baselines
passes once at x, and has ends for each baseline.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain

import numpy as np
import torch
from torch import Tensor

from unitrank_engine.attribution.place_passes import PlacePasses, PlaceValues
from unitrank_engine.errors import EngineError
from unitrank_engine.job.baselines import KEPT_BYTES, Baselines, Inputs
from unitrank_engine.job.context import JobContext
from unitrank_engine.job.fills import expanded
from unitrank_engine.job.targets import Fixed, resembles_probabilities
from unitrank_engine.methods import PathEnds, Point
from unitrank_engine.methods.batch import Count, gradient_of
from unitrank_engine.program.split import Live


@dataclass(frozen=True, kw_only=True)
class _BaselineRun:
    """The model's values at a baseline, for each target.

    Where all examples share the baseline, its values have one row, and each of `f` one for each
    distinct class and rival.
    """

    fixed: list[Fixed]
    values: PlaceValues
    """Without gradients."""
    f: list[Tensor]
    gradients: list[Tensor | None]

    @property
    def nbytes(self) -> int:
        """Size of the tensors in memory, in bytes."""
        places = [*self.values.h, *(value for live in self.values.live for value in live.tensors), *chain(*self.values.affine)]
        return sum(value.nbytes for value in (*places, *self.f, *self.gradients) if isinstance(value, Tensor))


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
        self.passes = PlacePasses([target.context for target in targets])
        self.examples = targets[0].context.examples
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
        values, needed = self.passes.run(x), self._needed(1.0)
        with torch.enable_grad():
            fixed = [target.context.fix(values.output.detach(), rows) for target in self.targets]
            f = self._scores(values.output, fixed)
        gradients = self.passes.gradients(values, f, needed)
        self._count(len(rows), backward=self.passes.backward_passes(needed), targets=len(f))
        output, probabilities = values.output.detach(), resembles_probabilities(values.output.detach())
        for number, baseline_of in enumerate(self.baselines.each):
            baseline = expanded(baseline_of(rows, cluster, x), len(rows))
            start = self._at_baseline(baseline, fixed, (cluster, number))
            refuse_non_finite("the model's output", *f, *start.f)
            same, starts = _equal(x, baseline), [_rows(h, len(rows)) for h in start.values.h]
            yield [
                PathEnds(
                    x=x,
                    baseline=baseline,
                    fixed=fixed[index],
                    input=Point(1.0, values.h[place], gradients[index]),
                    start=Point(0.0, starts[place], start.gradients[index]),
                    f=f[index].detach(),
                    f_baseline=start.f[index],
                    output=output,
                    at_baseline=same,
                    probabilities=probabilities,
                    live=values.live[place],
                    live_baseline=start.values.live[place],
                    affine=values.affine[place],
                    affine_baseline=start.values.affine[place],
                )
                for index, place in enumerate(self.passes.number)
            ]

    def _scores(self, output: Tensor, fixed: Sequence[Fixed]) -> list[Tensor]:
        return [target.context.score(output, each) for target, each in zip(self.targets, fixed, strict=True)]

    def _needed(self, end: float) -> list[bool]:
        """Return for each target whether it needs the gradient at this end."""
        return [target.needs[end] for target in self.targets]

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
        values, needed, rows = self.passes.run(inputs), self._needed(0.0), len(inputs[0])
        with torch.enable_grad():
            f = [
                target.context.score(_rows(values.output, len(each.classes)), each)
                for target, each in zip(self.targets, fixed, strict=True)
            ]
        if all(rows == len(each.classes) for each in fixed):
            gradients = self.passes.gradients(values, f, needed)
            self._count(rows, backward=self.passes.backward_passes(needed), progress=0)
        else:
            self._count(rows, backward=0, progress=0)
            gradients = [
                self._slope(target.context, inputs, (values.h[place], values.live[place]), each) if target.needs[0.0] else None
                for target, place, each in zip(self.targets, self.passes.number, fixed, strict=True)
            ]
        # Without the graph of autograd, whose values take memory.
        values = replace(values, tracked=[], output=values.output.detach())
        return _BaselineRun(fixed=fixed, values=values, f=[each.detach() for each in f], gradients=gradients)

    def _slope(self, context: JobContext, inputs: Inputs, place: tuple[Tensor, Live], fixed: Fixed) -> Tensor:
        """Return the gradient at a single baseline, one row for each class and rival."""
        split, count = context.split, len(fixed.classes)
        h, live = place if split.repeatable else split.head(expanded(inputs, count))
        at = _rows(h, count).detach().requires_grad_(h.is_floating_point())
        with torch.enable_grad():
            f = context.score(split.tail(at, live), fixed)
        self._count(count, backward=1, progress=0)
        return gradient_of(f, at)


def _equal(x: Inputs, baseline: Inputs) -> Tensor:
    """Return which rows of all real-valued inputs equal those of the baseline."""
    same = [(a == b).reshape(len(a), -1).all(1) for a, b in zip(x, baseline, strict=True) if a.is_floating_point()]
    return torch.stack(same).all(0) if same else torch.ones(len(x[0]), dtype=torch.bool)


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
