"""The main pass: every example walks its path once, and every method of the job takes what it needs."""

from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from time import perf_counter

import numpy as np
import torch
from torch import Tensor

from unitrank_engine.attribution.path_ends import EndPasses, refuse_non_finite
from unitrank_engine.attribution.ranking_errors import all_scores
from unitrank_engine.attribution.scores import Attribution, PerExample, Scored, score_key
from unitrank_engine.attribution.statistics import Sums
from unitrank_engine.job.baselines import Inputs
from unitrank_engine.job.clusters.membership import MemberBatch, Membership
from unitrank_engine.job.fills import Fills
from unitrank_engine.methods import METHODS, Batch, PathEnds, Point, ScoringMethod
from unitrank_engine.methods.path.walk import input_walk
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
        self._ends = EndPasses(self.context, self.baselines, self.needs, self._count)

    def plan(self) -> None:
        """Announces the stage; a gradient costs two more passes of the tail, and so may every pass of a method's own."""
        split, inner = self.context.split, sum(map(len, self.grids))
        extra = sum(METHODS[entry.name].passes(entry, self.context) for entry in self.entries.values())
        backward = (sum(self.needs.values()) + inner + extra) / (2 + inner + extra)
        rows = len(self.membership.rows) * (2 + inner + extra)
        self.context.meter.plan(STAGE, rows, split.cost + 2 * split.tail_cost * backward)

    def run(self, observer: "PassObserver | None" = None) -> Attribution:
        """Raises EngineError `non_finite` or `class_out_of_range`."""
        clusters, units, device = len(self.context.clusters), self.context.units.count, self.context.device
        n = len(self.membership.rows)
        scored = {
            key: Scored(entry, Sums(clusters=clusters, units=units, device=device, fourth=key in self._squared), np.zeros(n))
            for key, entry in self.entries.items()
        }
        result = Attribution(self.membership, scored, PerExample.empty(n))
        self._run(result, observer)
        return result

    def _run(self, result: Attribution, observer: "PassObserver | None") -> None:
        began = perf_counter()
        self._prepared = {key: METHODS[entry.name].prepare(entry, self.context) for key, entry in self.entries.items()}
        for first, stop, cluster in self.membership.batches(self.batch):
            while first < stop:
                batch = self.membership.batch(first, min(first + self.batch, stop), cluster)
                if self._take_in(result, batch, observer):
                    first = batch.stop
        self._share(perf_counter() - began, result)

    def _share(self, seconds: float, result: Attribution) -> None:
        """Splits the time of the shared path among the methods by the points that each asked for; a gradient counts twice more."""
        points_of = {key: METHODS[entry.name].points(entry).values() for key, entry in self.entries.items()}
        weights = {key: 1 + len(points) + 2 * sum(points) for key, points in points_of.items()}
        shared = seconds - sum(scored.seconds for scored in result.scored.values())
        for key, weight in weights.items():
            result.scored[key].seconds += shared * weight / sum(weights.values())

    def _take_in(self, result: Attribution, batch: MemberBatch, observer: "PassObserver | None") -> bool:
        """Whether the batch went through; where memory ran out, nothing of it was added, and later batches have half its rows."""
        try:
            ends = self._ends.of(batch.rows, batch.cluster)
            scores = self._walk(result, batch, ends)
            if observer is not None:
                observer.see_batch(batch, ends, scores)
        except torch.OutOfMemoryError:
            if self.batch == 1:
                raise
            self.batch //= 2
            self.halved = True
            return False
        self._note(result.examples, batch, ends)
        for key, values in scores.items():
            self._accumulate(result.scored[key], batch, values)
        return True

    def _note(self, examples: PerExample, batch: MemberBatch, ends: PathEnds) -> None:
        """Writes down what single examples are needed for."""
        here = slice(batch.start, batch.stop)
        examples.f[here] = ends.f.double().cpu().numpy()
        examples.f_baseline[here] = ends.f_baseline.double().cpu().numpy()
        examples.classes[here] = ends.fixed.classes.cpu().numpy()
        right = self.context.right(ends.output, self.context.examples.labels(batch.rows))
        if right is None:
            examples.right = None
        elif examples.right is not None:
            examples.right[here] = right.cpu().numpy()
        if ends.input.gradient is not None:
            examples.flat[here] = (ends.input.gradient.flatten(1) == 0).all(1).cpu().numpy()
        examples.at_baseline[here] = _equal(ends.x, ends.baseline).cpu().numpy()

    def _walk(self, result: Attribution, batch: MemberBatch, ends: PathEnds) -> dict[str, Tensor]:
        """Shows each method its points in ascending order; the scores of each, one row an example, by unit."""
        methods: dict[str, ScoringMethod] = {}
        points: dict[str, dict[float, bool]] = {}
        for key, entry in self.entries.items():
            seen = Batch(
                context=self.context,
                rows=batch.rows,
                cluster=batch.cluster,
                ends=ends,
                fills=self.fills,
                size=self.batch,
                count=self._count,
                notes=result.scored[key].notes,
            )
            methods[key] = METHODS[entry.name](entry, seen, self._prepared[key])
            points[key] = METHODS[entry.name].points(entry)
        for inner, keys in self.grids.items():
            for point in self._points(ends, inner):
                precise = point.precise()
                for key in keys:
                    if point.alpha in points[key]:
                        methods[key].visit(precise)
        makers = {key: partial(self._scores, method, result.scored[key]) for key, method in methods.items()}
        return all_scores(makers, self.keys)

    def _scores(self, method: ScoringMethod, scored: Scored) -> Tensor:
        began = perf_counter()
        scores = method.by_unit()
        refuse_non_finite("a score", scores)
        scored.seconds += perf_counter() - began
        return scores

    def _points(self, ends: PathEnds, inner: "Grid") -> Iterator[Point]:
        """The points of the shared path."""
        yield ends.start
        yield from input_walk(self.context, ends, size=self.batch, count=self._count, precision="float32").points(dict(inner))
        yield ends.input

    def _count(self, rows: int, *, backward: bool, stands_for: int | None = None) -> None:
        """After every pass: this is also where a cancelled job stops."""
        self.context.cost.forward_rows += rows
        self.context.cost.backward_rows += rows if backward else 0
        self.context.meter.advance(STAGE, rows if stands_for is None else stands_for)

    def _accumulate(self, scored: Scored, batch: MemberBatch, values: Tensor) -> None:
        members = self.membership.within(batch.start, batch.stop)
        clusters, positions = self.membership.cluster[members], self.membership.example[members] - batch.start
        scored.sums.add(clusters=clusters, sides=self.membership.side[members], examples=positions, scores=values)
        scored.totals[batch.start : batch.stop] = values.double().sum(1).cpu().numpy()
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


class PassObserver:
    """Looks at each batch of the main pass while its values are at hand."""

    def see_batch(self, batch: MemberBatch, ends: PathEnds, scores: dict[str, Tensor]) -> None:
        """One batch: its examples, both ends of their paths, and each method's scores by unit."""


def _equal(x: Inputs, baseline: Inputs) -> Tensor:
    same = [(a == b).reshape(len(a), -1).all(1) for a, b in zip(x, baseline, strict=True) if a.is_floating_point()]
    return torch.stack(same).all(0) if same else torch.ones(len(x[0]), dtype=torch.bool)
