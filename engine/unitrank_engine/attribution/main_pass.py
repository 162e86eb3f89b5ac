"""The main pass runs every example along its path once, for all methods of the job.

Methods that need the same points share their passes. The scores are added to sums batch by batch.
"""

from collections.abc import Collection, Iterator, Mapping
from functools import partial
from time import perf_counter

import numpy as np
import torch
from torch import Tensor

from unitrank_engine.attribution.bootstrap import Groups, top_shares
from unitrank_engine.attribution.grids import Grid, grids, needs_of, squared
from unitrank_engine.attribution.open_spacing import PathsNotResolved, first_examples, resolved
from unitrank_engine.attribution.path_ends import EndPasses, refuse_non_finite
from unitrank_engine.attribution.projections import DIRECTIONS, Projector, projected_statistics
from unitrank_engine.attribution.ranking_errors import all_scores
from unitrank_engine.attribution.scores import Attribution, MethodScores, PathGaps, PerExample, score_key
from unitrank_engine.attribution.statistics import Sums
from unitrank_engine.job.baselines import Inputs
from unitrank_engine.job.clusters.membership import MemberBatch, Membership
from unitrank_engine.job.fills import Fills
from unitrank_engine.job.targets import resembles_probabilities
from unitrank_engine.methods import METHODS, Batch, PathEnds, Point, ScoringMethod
from unitrank_engine.methods.path.walk import input_walk
from unitrank_schemas.methods import MethodBase, PathMethod

STAGE = "attribution"


class MainPass:
    """Computes the scores of all methods for all examples of a job.

    `entries`: the methods, as the request has them, with their spacings.
    `needs`: α of an end (0.0 or 1.0) → whether the gradient is taken there. By default it is taken
        where a method needs it.
    `open_keys`: `score_key` of path methods whose spacing the request leaves open.
    `stage`: the stage of the job whose progress advances.
    """

    def __init__(
        self,
        fills: Fills,
        entries: list[MethodBase],
        needs: Mapping[float, bool] | None = None,
        open_keys: Collection[str] = (),
        stage: str = STAGE,
    ) -> None:
        self.context = fills.context
        self.baselines = fills.baselines
        self.fills = fills
        self.stage = stage
        self.batch = fills.batch
        self.halved = False
        """Whether memory ran out, so that batches are smaller and sums round differently."""
        self.keys = {entry.id or entry.name: score_key(entry) for entry in entries}
        self.entries = {score_key(entry): entry for entry in entries}
        self.needs = needs_of(entries) if needs is None else needs
        self.grids = grids(self.entries)
        self.membership = Membership.of(self.context, self.baselines.grouped)
        self.groups = Groups.of(self.context, self.membership)
        self._open_keys = open_keys
        self._squared = squared(entries)
        self._projected = projected_statistics(self.context.request.methods, entries)
        self._projector = Projector(self.context.units.count, self.context.device) if self._projected else None
        self._ends = EndPasses(self.context, self.baselines, self.needs, self._count)

    def plan(self, times: int = 1) -> None:
        """Announce the stage's rows to the progress meter, for this number of runs.

        The estimate counts a gradient as two more passes of the tail, and every extra pass of a
        method as one with a gradient.
        """
        split, inner = self.context.split, sum(map(len, self.grids))
        extra = sum(METHODS[entry.name].passes(entry, self.context) for entry in self.entries.values())
        backward = (sum(self.needs.values()) + inner + extra) / (2 + inner + extra)
        rows = times * len(self.membership.rows) * (2 + inner + extra)
        self.context.meter.plan(self.stage, rows, split.cost + 2 * split.tail_cost * backward)

    def run(self, observer: "PassObserver | None" = None) -> Attribution:
        """Run all examples; show every batch with its scores to `observer`.

        Raises PathsNotResolved where an open spacing does not resolve the paths of the first
        examples, and EngineError `non_finite` or `class_out_of_range`.
        """
        clusters, units, device = len(self.context.clusters), self.context.units.count, self.context.device
        n = len(self.membership.rows)
        by_key = {
            key: MethodScores(
                entry,
                Sums(clusters=clusters, units=units, device=device, fourth=key in self._squared, groups=self.groups.count),
                np.zeros(n),
                path_gaps=PathGaps.empty(n) if isinstance(entry, PathMethod) else None,
                projections={statistic: np.zeros((n, DIRECTIONS)) for statistic in self._projected.get(key, ())},
            )
            for key, entry in self.entries.items()
        }
        result = Attribution(self.membership, by_key, PerExample.empty(n))
        self._run(result, observer)
        return result

    def _run(self, result: Attribution, observer: "PassObserver | None") -> None:
        began = perf_counter()
        self._prepared = {key: METHODS[entry.name].prepare(entry, self.context) for key, entry in self.entries.items()}
        last_tried = int(first_examples(self.context, self.membership)[-1])
        for first, stop, cluster in self.membership.batches(self.batch):
            while first < stop:
                batch = self.membership.batch(first, min(first + self.batch, stop), cluster)
                if self._run_batch(result, batch, observer):
                    first = batch.stop
                    if batch.start <= last_tried < batch.stop:
                        self._try_spacings(result)
        self._share(perf_counter() - began, result)
        for scores in result.by_key.values():
            scores.in_top = top_shares(scores.sums, self.groups, self.context)
            scores.sums.drop_groups()

    def _try_spacings(self, result: Attribution) -> None:
        unresolved = {key for key in self._open_keys if not resolved(self.context, result.by_key[key], self.membership)}
        if unresolved:
            raise PathsNotResolved(unresolved)

    def _share(self, seconds: float, result: Attribution) -> None:
        """Split the seconds of the common passes among the methods.

        A method's weight is 1, plus 1 for each of its points, plus 2 for each gradient.
        """
        points_of = {key: METHODS[entry.name].points(entry).values() for key, entry in self.entries.items()}
        weights = {key: 1 + len(points) + 2 * sum(points) for key, points in points_of.items()}
        shared = seconds - sum(scores.seconds for scores in result.by_key.values())
        for key, weight in weights.items():
            result.by_key[key].seconds += shared * weight / sum(weights.values())

    def _run_batch(self, result: Attribution, batch: MemberBatch, observer: "PassObserver | None") -> bool:
        """Run one batch and add it to the result; return False where memory ran out.

        In that case nothing of the batch is added, and later batches have half its rows.
        """
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
        self._record_examples(result.examples, batch, ends)
        for key, values in scores.items():
            self._accumulate(result.by_key[key], batch, values)
        return True

    def _record_examples(self, examples: PerExample, batch: MemberBatch, ends: PathEnds) -> None:
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
        examples.probabilities[here] = resembles_probabilities(ends.output).cpu().numpy()

    def _walk(self, result: Attribution, batch: MemberBatch, ends: PathEnds) -> dict[str, Tensor]:
        """Hand each method its points in ascending order.

        Return the scores by key, `[rows, units]`.
        """
        methods: dict[str, ScoringMethod] = {}
        points: dict[str, dict[float, bool]] = {}
        for key, entry in self.entries.items():
            method_batch = Batch(
                context=self.context,
                rows=batch.rows,
                cluster=batch.cluster,
                ends=ends,
                fills=self.fills,
                size=self.batch,
                count=self._count,
                notes=result.by_key[key].notes,
            )
            methods[key] = METHODS[entry.name](entry, method_batch, self._prepared[key])
            points[key] = METHODS[entry.name].points(entry)
        for inner, keys in self.grids.items():
            for point in self._points(ends, inner):
                precise = point.precise()
                for key in keys:
                    if point.alpha in points[key]:
                        methods[key].visit(precise)
        makers = {key: partial(self._scores, method, result.by_key[key], batch) for key, method in methods.items()}
        return all_scores(makers, self.keys)

    def _scores(self, method: ScoringMethod, record: MethodScores, batch: MemberBatch) -> Tensor:
        began = perf_counter()
        scores = method.by_unit()
        refuse_non_finite("a score", scores)
        gap, here = method.gap(), slice(batch.start, batch.stop)
        if gap is not None and record.path_gaps is not None:
            record.path_gaps.take(here, gap, method.batch.ends)
        record.seconds += perf_counter() - began
        return scores

    def _points(self, ends: PathEnds, inner: "Grid") -> Iterator[Point]:
        """Yield the points of the shared path in ascending order: x′, the inner ones, x."""
        yield ends.start
        yield from input_walk(self.context, ends, size=self.batch, count=self._count, precision="float32").points(dict(inner))
        yield ends.input

    def _count(self, rows: int, *, backward: bool, progress: int | None = None) -> None:
        """Count the rows of a pass.

        Called after every pass; raises Cancelled where the job must stop.

        `progress`: rows by which the progress advances, if not `rows`.
        """
        self.context.cost.forward_rows += rows
        self.context.cost.backward_rows += rows if backward else 0
        self.context.meter.advance(self.stage, rows if progress is None else progress)

    def _accumulate(self, record: MethodScores, batch: MemberBatch, values: Tensor) -> None:
        members = self.membership.within(batch.start, batch.stop)
        clusters, positions = self.membership.cluster[members], self.membership.example[members] - batch.start
        groups = self.groups.of_member[members] if self.groups.count else None
        record.sums.add(clusters=clusters, sides=self.membership.side[members], examples=positions, scores=values, groups=groups)
        record.totals[batch.start : batch.stop] = values.double().sum(1).cpu().numpy()
        for statistic, projections in record.projections.items():
            assert self._projector is not None
            projections[batch.start : batch.stop] = self._projector.project(values, statistic)
        if self.context.request.keep_examples:
            for position, cluster in zip(positions.tolist(), clusters.tolist(), strict=True):
                if len(record.kept[cluster]) < self.context.request.keep_examples:
                    # A copy, because a view of one row would keep the whole batch in memory.
                    record.kept[cluster].append(values[position].to("cpu", torch.float32, copy=True))


class PassObserver:
    """Receives each batch of the main pass, before its tensors are freed."""

    def see_batch(self, batch: MemberBatch, ends: PathEnds, scores: dict[str, Tensor]) -> None:
        """Receive a batch: its examples, their path ends, and scores by key, `[rows, units]`."""


def _equal(x: Inputs, baseline: Inputs) -> Tensor:
    same = [(a == b).reshape(len(a), -1).all(1) for a, b in zip(x, baseline, strict=True) if a.is_floating_point()]
    return torch.stack(same).all(0) if same else torch.ones(len(x[0]), dtype=torch.bool)
