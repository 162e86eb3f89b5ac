"""The main pass: every example walks its path once, and every method of the job takes what it needs."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from time import perf_counter

import numpy as np
import torch
from torch import Tensor

from unitrank_engine.attribution.ranking_errors import all_scores
from unitrank_engine.attribution.scores import Attribution, PerExample, Scored, score_key
from unitrank_engine.attribution.statistics import Sums
from unitrank_engine.errors import EngineError
from unitrank_engine.job.baselines import Inputs
from unitrank_engine.job.clusters.membership import Membership
from unitrank_engine.job.fills import Fills, expanded
from unitrank_engine.job.targets import Fixed
from unitrank_engine.methods import METHODS, Batch, PathEnds, Point, ScoringMethod
from unitrank_engine.methods.batch import gradient_of
from unitrank_engine.methods.path.walk import input_walk
from unitrank_engine.program.split import Live
from unitrank_schemas.methods import MethodBase

STAGE = "attribution"


class MainPass:
    """Walks all examples; `observer` is shown every batch with its scores (fidelity looks at them there)."""

    def __init__(self, fills: Fills, entries: list[MethodBase], needs: Mapping[float, bool] | None = None) -> None:
        """`needs`: α of either end → whether the gradient is taken there; by default where a method asks for it."""
        self.context = fills.context
        self.baselines = fills.baselines
        self.fills = fills
        self.batch = fills.batch
        self.halved = False
        """Whether memory ran out, so that sums were made in another order than they would be."""
        self.keys = {entry.id or entry.name: score_key(entry) for entry in entries}
        self.entries = {score_key(entry): entry for entry in entries}
        self.needs = needs_of(entries) if needs is None else needs
        self.grids = _grids(self.entries)
        self.membership = Membership.of(self.context, self.baselines.grouped)
        self._squared = squared(entries)
        self._start: dict[int | None, _Start] = {}

    def plan(self) -> None:
        """Announces the stage; a gradient costs two more passes of the tail, and so may every pass of a method's own."""
        split, inner = self.context.split, sum(map(len, self.grids))
        own = sum(METHODS[entry.name].passes(entry, self.context) for entry in self.entries.values())
        backward = (sum(self.needs.values()) + inner + own) / (2 + inner + own)
        rows = len(self.membership.rows) * (2 + inner + own)
        self.context.meter.plan(STAGE, rows, split.cost + 2 * split.tail_cost * backward)

    def run(self, observer: "PassObserver | None" = None) -> Attribution:
        """Raises EngineError `non_finite` or `class_out_of_range`."""
        units, slots, n = self.context.units.count, 2 * len(self.context.clusters), len(self.membership.rows)
        scored = {
            key: Scored(entry, Sums(slots, units, self.context.device, fourth=key in self._squared), np.zeros(n))
            for key, entry in self.entries.items()
        }
        result = Attribution(self.membership, scored, PerExample.empty(n))
        self._run(result, observer)
        return result

    def _run(self, result: Attribution, observer: "PassObserver | None") -> None:
        began = perf_counter()
        self._prepared = {key: METHODS[entry.name].prepare(entry, self.context) for key, entry in self.entries.items()}
        for start, stop, cluster in self.membership.batches(self.batch):
            while start < stop:
                start = self._batch(result, start, min(start + self.batch, stop), cluster, observer)
        self._share(perf_counter() - began, result)

    def _share(self, seconds: float, result: Attribution) -> None:
        """Splits the time of the shared path among the methods by the points that each asked for; a gradient counts twice more."""
        asked = {key: METHODS[entry.name].points(entry).values() for key, entry in self.entries.items()}
        weights = {key: 1 + len(points) + 2 * sum(points) for key, points in asked.items()}
        shared = seconds - sum(scored.seconds for scored in result.scored.values())
        for key, weight in weights.items():
            result.scored[key].seconds += shared * weight / sum(weights.values())

    def _batch(self, result: Attribution, start: int, stop: int, cluster: int | None, observer: "PassObserver | None") -> int:
        """Takes in a batch; where the next one starts, which is here again, with fewer rows at once, where memory ran out."""
        rows = self.membership.rows[start:stop]
        try:
            ends = self._ends(rows, cluster)
            scores = self._walk(result, rows, cluster, ends)
            if observer is not None:
                observer.see_batch(rows, cluster, start, stop, ends, scores)
        except torch.OutOfMemoryError:
            if self.batch == 1:
                raise
            self.batch //= 2
            self.halved = True
            return start
        self._note(result, start, stop, ends)
        for key, values in scores.items():
            self._accumulate(result.scored[key], values, start, stop)
        return stop

    def _note(self, result: Attribution, start: int, stop: int, ends: PathEnds) -> None:
        """Writes down what single examples are needed for."""
        rows, found = self.membership.rows[start:stop], result.examples
        found.f[start:stop] = ends.f.double().cpu().numpy()
        found.f_baseline[start:stop] = ends.f_baseline.double().cpu().numpy()
        found.classes[start:stop] = ends.fixed.classes.cpu().numpy()
        right = self.context.right(ends.output, self.context.examples.labels(rows))
        if right is None:
            found.right = None
        elif found.right is not None:
            found.right[start:stop] = right.cpu().numpy()
        if ends.input.gradient is not None:
            found.flat[start:stop] = (ends.input.gradient.flatten(1) == 0).all(1).cpu().numpy()
        found.at_baseline[start:stop] = _equal(ends.x, ends.baseline).cpu().numpy()

    def _ends(self, rows: np.ndarray, cluster: int | None) -> PathEnds:
        """The batch at the input and at the baseline, with the gradients that the methods ask for there."""
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
        _refuse_non_finite("the model's output", f, start.f)
        here, at_start = Point(1.0, h.detach(), gradient), Point(0.0, _rows(start.h, len(rows)), start.gradient)
        found = (f.detach(), start.f, output.detach(), live, start.live)
        return PathEnds(x, baseline, fixed, here, at_start, *found, affine, start.affine)

    def _at_baseline(self, baseline: Inputs, fixed: Fixed, cluster: int | None) -> "_Start":
        """Where all rows share it, it passes once, and once for each target where its gradient is asked for."""
        rows, gradient = len(fixed.classes), self.needs[0.0]
        one = self.baselines.shared and all(tensor.is_floating_point() for tensor in baseline)
        targets, which = fixed.distinct() if one else (fixed, slice(None))
        known = self._start.get(cluster) if one else None
        if known is None or not known.targets.equals(targets):
            inputs = tuple(tensor[:1] for tensor in baseline) if one else baseline
            known = self._pass_baseline(inputs, targets, gradient)
            self._start = {cluster: known} if one else {}
        self._count(0, backward=gradient, stands_for=rows)
        return replace(known, f=known.f[which], gradient=None if known.gradient is None else known.gradient[which])

    def _pass_baseline(self, inputs: Inputs, targets: Fixed, gradient: bool) -> "_Start":
        split, count = self.context.split, len(targets.classes)
        affine = split.affine(inputs)
        h, live = split.head_behind(inputs, affine)
        at = _tracked(h)
        with torch.enable_grad():
            f = self.context.score(_rows(split.tail(at, live), count), targets)
        alone = gradient and len(h) == count
        self._count(len(h), backward=alone, stands_for=0)
        slope = gradient_of(f, at) if alone else self._slope(inputs, (h, live), targets) if gradient else None
        return _Start(targets, h, f.detach(), slope, live, affine)

    def _slope(self, inputs: Inputs, place: tuple[Tensor, Live], targets: Fixed) -> Tensor:
        """The gradient at one baseline for each of several targets."""
        split, count = self.context.split, len(targets.classes)
        h, live = place if split.repeatable else split.head(expanded(inputs, count))
        at = _tracked(_rows(h, count))
        with torch.enable_grad():
            f = self.context.score(split.tail(at, live), targets)
        self._count(count, backward=True, stands_for=0)
        return gradient_of(f, at)

    def _walk(self, result: Attribution, rows: np.ndarray, cluster: int | None, ends: PathEnds) -> dict[str, Tensor]:
        """Shows each method its points in ascending order; the scores of each, one row an example, by unit."""
        methods: dict[str, ScoringMethod] = {}
        wanted: dict[str, dict[float, bool]] = {}
        for key, entry in self.entries.items():
            notes = result.scored[key].notes
            batch = Batch(self.context, rows, cluster, ends, self.fills, self.batch, self._count, notes)
            methods[key] = METHODS[entry.name](entry, batch, self._prepared[key])
            wanted[key] = METHODS[entry.name].points(entry)
        for inner, keys in self.grids.items():
            for point in self._points(ends, inner):
                precise = point.precise()
                for key in keys:
                    if point.alpha in wanted[key]:
                        methods[key].visit(precise)
        makers = {key: partial(self._scores, method, result.scored[key]) for key, method in methods.items()}
        return all_scores(makers, self.keys)

    def _scores(self, method: ScoringMethod, scored: Scored) -> Tensor:
        began = perf_counter()
        scores = method.by_unit()
        _refuse_non_finite("a score", scores)
        scored.seconds += perf_counter() - began
        return scores

    def _points(self, ends: PathEnds, inner: "Grid") -> Iterator[Point]:
        """The points of the shared path."""
        yield ends.start
        yield from input_walk(self.context, ends, self.batch, self._count, "float32").points(dict(inner))
        yield ends.input

    def _count(self, rows: int, *, backward: bool, stands_for: int | None = None) -> None:
        """After every pass: this is also where a cancelled job stops."""
        self.context.cost.forward_rows += rows
        self.context.cost.backward_rows += rows if backward else 0
        self.context.meter.advance(STAGE, rows if stands_for is None else stands_for)

    def _accumulate(self, scored: Scored, values: Tensor, start: int, stop: int) -> None:
        chosen = self.membership.within(start, stop)
        clusters, positions = self.membership.cluster[chosen], self.membership.example[chosen] - start
        scored.sums.add(2 * clusters + self.membership.side[chosen], positions, values)
        scored.totals[start:stop] = values.double().sum(1).cpu().numpy()
        if self.context.request.keep_examples:
            for position, cluster in zip(positions.tolist(), clusters.tolist(), strict=True):
                if len(scored.kept[cluster]) < self.context.request.keep_examples:
                    # a copy: a view of one row would keep the scores of its whole batch
                    scored.kept[cluster].append(values[position].to("cpu", torch.float32, copy=True))


Grid = tuple[tuple[float, bool], ...]
"""Each α inside the path, and whether its gradient is asked for."""


def needs_of(entries: Iterable[MethodBase]) -> dict[float, bool]:
    """Whether the gradient is asked for at either end of the path."""
    asked = [METHODS[entry.name].points(entry) for entry in entries]
    return {end: any(points.get(end, False) for points in asked) for end in (0.0, 1.0)}


def squared(entries: Iterable[MethodBase]) -> set[str]:
    """The scores whose fourth powers are summed too."""
    return {score_key(entry) for entry in entries if entry.statistic == "rms"}


def _grids(entries: Mapping[str, MethodBase]) -> dict[Grid, list[str]]:
    """The keys of methods by the points that they share: all inside the path, or none.

    Points of several grids in one pass would round each other differently, and a method's scores hang on its company.
    """
    grids: dict[Grid, list[str]] = {}
    for key, entry in entries.items():
        points = METHODS[entry.name].points(entry)
        inner = tuple(sorted((alpha, need) for alpha, need in points.items() if 0.0 < alpha < 1.0))
        grids.setdefault(inner, []).append(key)
    return grids


def _tracked(h: Tensor) -> Tensor:
    return h.detach().requires_grad_(h.is_floating_point())


@dataclass(frozen=True)
class _Start:
    """The model at a baseline: one row where all examples share it, one target of each kind."""

    targets: Fixed
    h: Tensor
    f: Tensor
    gradient: Tensor | None
    live: Live
    affine: tuple[Tensor, ...]


class PassObserver:
    """Looks at each batch of the main pass while its values are at hand."""

    def see_batch(
        self, rows: np.ndarray, cluster: int | None, start: int, stop: int, ends: PathEnds, scores: dict[str, Tensor]
    ) -> None:
        """One batch: examples `start` to `stop` of the pass, both ends of their paths, and each method's scores by unit."""


def _rows(value: Tensor, rows: int) -> Tensor:
    """One row as so many."""
    return value.expand(rows, *value.shape[1:])


def _equal(x: Inputs, baseline: Inputs) -> Tensor:
    same = [(a == b).reshape(len(a), -1).all(1) for a, b in zip(x, baseline, strict=True) if a.is_floating_point()]
    return torch.stack(same).all(0) if same else torch.ones(len(x[0]), dtype=torch.bool)


def _refuse_non_finite(what: str, *values: Tensor) -> None:
    # a sum in float64 is finite where all of them are, and takes an eighth of the time of a look at each
    if not all(bool(torch.isfinite(tensor.sum(dtype=torch.float64))) for tensor in values):
        raise EngineError(
            "non_finite",
            f"{what} became NaN or infinite; look for a division by zero, a logarithm of zero or an overflow in the model, "
            "or choose another baseline or score",
        )
