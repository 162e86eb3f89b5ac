"""The part of the main pass for one target: its methods, and the sums of their scores.

A job has one target, or one for each class. The main pass runs the batches of all targets together.
"""

from collections.abc import Callable, Collection, Mapping
from functools import cached_property
from time import perf_counter
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unitrank_engine.attribution.baselines.agreement import BaselineSums, spreads
from unitrank_engine.attribution.bootstrap import Groups, MemberGroups, top_shares
from unitrank_engine.attribution.examples.extremes import Extremes
from unitrank_engine.attribution.examples.sampling_errors import SamplingErrors
from unitrank_engine.attribution.examples.sums import ExampleSums, GapSums, TotalSums
from unitrank_engine.attribution.examples.values import ExampleValues, MethodValues, PathGaps
from unitrank_engine.attribution.grids import Grid, grids, needs_of, squared
from unitrank_engine.attribution.open_spacing import first_examples, resolved
from unitrank_engine.attribution.path_ends import EndTarget, refuse_non_finite
from unitrank_engine.attribution.projections import DIRECTIONS, Projector, last_projected, projected_statistics
from unitrank_engine.attribution.scores import Attribution, MethodScores, score_key
from unitrank_engine.attribution.statistics import Sums
from unitrank_engine.job.clusters.membership import Membership
from unitrank_engine.job.clusters.range_members import MemberBatch, RangeMembers
from unitrank_engine.job.fills import Fills
from unitrank_engine.methods import METHODS, Batch, PathEnds, Point, ScoringMethod
from unitrank_engine.methods.batch import Count, PathGap, ScoreVariance
from unitrank_schemas.methods import MethodBase, PathMethod


class TargetPass:
    """Holds the methods of one target, and adds their scores to sums batch by batch.

    `entries`: the methods, as the request has them, with their spacings.
    `needs`: α of an end (0.0 or 1.0) → whether the gradient is taken there. By default it is taken
        where a method needs it.
    `open_keys`: `score_key` of path methods whose spacing the request leaves open.
    """

    def __init__(
        self,
        fills: Fills,
        entries: list[MethodBase],
        needs: Mapping[float, bool] | None = None,
        open_keys: Collection[str] = (),
    ) -> None:
        self.context = fills.context
        self.fills = fills
        self.keys = {entry.id or entry.name: score_key(entry) for entry in entries}
        self.entries = {score_key(entry): entry for entry in entries}
        self._points = {key: METHODS[entry.name].points(entry) for key, entry in self.entries.items()}
        self.explained = EndTarget(fills.context, needs_of(entries) if needs is None else needs)
        self.grids = grids(self.entries)
        self.open_keys = open_keys
        self._squared = squared(entries)
        self._projected = projected_statistics(self.context.request.methods, entries)
        self._projector = Projector(self.context.units.count, self.context.device) if self._projected else None

    @property
    def inner_points(self) -> int:
        """Points of the shared path between its ends."""
        return sum(map(len, self.grids))

    @property
    def extra_passes(self) -> int:
        """Rows of extra passes of the methods, for one example."""
        count = len(self.fills.baselines.each)
        return sum(
            METHODS[entry.name].passes(entry, self.context) * (count if entry.needs_baseline else 1)
            for entry in self.entries.values()
        )

    def begin(self, members: RangeMembers, groups: MemberGroups, kept: np.ndarray, followed: bool) -> None:
        """Make empty sums for a range of examples, and the values that its batches share.

        `kept`: whether the scores of each membership are kept.
        `followed`: whether the examples with extreme values of each unit are kept.
        """
        self._kept = kept
        self._groups = groups
        self._members = members
        clusters, units, n = len(self.context.clusters), self.context.units.count, len(members.rows)
        by_key = {
            key: MethodScores(
                entry,
                Sums(clusters=clusters, units=units, device=self.context.device, fourth=key in self._squared, groups=groups.total),
                projections={statistic: np.zeros((n, DIRECTIONS)) for statistic in self._projected.get(key, ())},
                extremes=Extremes.empty(clusters=clusters, units=units, device=self.context.device) if followed else None,
                errors=SamplingErrors.empty(clusters, units, self.context.device) if METHODS[entry.name].sampled else None,
                of_baselines=BaselineSums.of(self.context, entry, squares=key in self._squared),
            )
            for key, entry in self.entries.items()
        }
        # The activations are the same for every explained class.
        of_first = followed and not self.context.target_class
        self._activation = Extremes.empty(clusters=clusters, units=units, device=self.context.device) if of_first else None
        self._examples = ExampleValues.empty(n)
        self._values = {
            key: MethodValues(np.zeros(n), PathGaps.empty(n) if isinstance(entry, PathMethod) else None)
            for key, entry in self.entries.items()
        }
        self.records = by_key
        self._variances: dict[str, ScoreVariance | None] = {}

    @cached_property
    def _prepared(self) -> dict[str, object]:
        """`score_key` → what the method prepares once for all batches."""
        return {key: METHODS[entry.name].prepare(entry, self.context) for key, entry in self.entries.items()}

    def methods(
        self,
        batch: MemberBatch,
        ends: PathEnds,
        size: int,
        count: Count,
        kept: Mapping[str, dict[str, Any]],
        chosen: Callable[[MethodBase], bool],
    ) -> dict[str, ScoringMethod]:
        """Return an instance of each chosen method for a batch, by `score_key`.

        `size`: rows in one pass through the model, at most.
        `kept`: `score_key` → what the method keeps from one baseline to the next.
        """
        methods: dict[str, ScoringMethod] = {}
        for key, entry in self.entries.items():
            if not chosen(entry):
                continue
            method_batch = Batch(
                context=self.context,
                rows=batch.rows,
                cluster=batch.cluster,
                ends=ends,
                fills=self.fills,
                size=size,
                count=count,
                notes=self.records[key].notes,
                kept=kept[key],
            )
            methods[key] = METHODS[entry.name](entry, method_batch, self._prepared[key])
        return methods

    def visit(self, grid: Grid, methods: Mapping[str, ScoringMethod], point: Point) -> None:
        """Hand a point of a grid to the methods that need it."""
        for key in self.grids[grid]:
            if key in methods and point.alpha in self._points[key]:
                methods[key].visit(point)

    def check(self, key: str, method: ScoringMethod, scores: Tensor) -> Tensor:
        """Return a method's scores. Raises EngineError `non_finite`."""
        began = perf_counter()
        refuse_non_finite("a score", scores)
        self._variances[key] = method.variance()
        self.records[key].seconds += perf_counter() - began
        return scores

    def take_gap(self, key: str, batch: MemberBatch, gap: PathGap) -> None:
        """Record the gaps of a path method for the examples of a batch."""
        path_gaps = self._values[key].path_gaps
        if path_gaps is not None:
            path_gaps.take(slice(batch.start, batch.stop), gap)

    def see_baseline(self, key: str, baseline: int, batch: MemberBatch, scores: Tensor) -> None:
        """Sum the scores of a batch by one of several baselines; `add` keeps these sums."""
        sums = self.records[key].of_baselines
        if sums is not None and baseline < sums.sums.shape[1]:
            members = self._members.within(batch.start, batch.stop)
            examples = self._members.example[members] - batch.start
            sums.see(baseline, scores, clusters=self._members.cluster[members], examples=examples)

    def forget_baselines(self) -> None:
        """Drop the sums by single baselines of a batch that was not completed."""
        for sums in filter(None, (record.of_baselines for record in self.records.values())):
            sums.forget()

    def add(self, batch: MemberBatch, ends: PathEnds, scores: Mapping[str, Tensor]) -> None:
        """Add the scores of a batch to the sums, and record the values of its examples."""
        self._examples.take(slice(batch.start, batch.stop), self.context, batch.rows, ends)
        self._follow(self._activation, batch, self.context.units.reduce(ends.input.h))
        for key, values in scores.items():
            of_baselines = self.records[key].of_baselines
            if of_baselines is not None:
                of_baselines.add()
            self._accumulate(self.records[key], batch, values, self._variances.pop(key, None))
            self._follow(self.records[key].extremes, batch, values)
            self._values[key].totals[batch.start : batch.stop] = values.double().sum(1).cpu().numpy()

    def range_sums(self, membership: Membership) -> Attribution:
        """Return the sums of the range. `membership`: of all examples."""
        members, clusters = self._members.members_of_clusters(), len(self.context.clusters)
        for key, scores in self.records.items():
            scores.totals = TotalSums.of(self._values[key].totals, self._examples, members, clusters)
            scores.path_gaps = self._gaps(key, members)
            if scores.projections:
                kept = self._members.rows <= self.context.once(last_projected)
                scores.projections = {statistic: each[kept] for statistic, each in scores.projections.items()}
        examples = ExampleSums.of(self._examples, members, clusters, self._activation)
        return Attribution(membership, self.records, examples)

    def unresolved_here(self) -> set[str]:
        """As `unresolved`, of the batches of the range so far."""
        members = self._members.members_of_clusters()
        return {key for key in self.open_keys if not resolved(self._gaps(key, members))}

    def _gaps(self, key: str, members: Mapping[int, np.ndarray]) -> GapSums | None:
        values, clusters = self._values[key], len(self.context.clusters)
        if values.path_gaps is None:
            return None
        slots = {**members, clusters: first_examples(self.context, self._members)}
        return GapSums.of(values, self._examples, slots, clusters + 1)

    def end(self, result: Attribution, groups: Groups) -> None:
        """Take the scores of all examples, draw the bootstrap, and free the sums of its groups."""
        self.result = result
        for scores in self.result.by_key.values():
            scores.in_top = top_shares(scores.sums, groups, self.context)
            scores.sums.drop_groups()
            if scores.of_baselines is not None:
                scores.over_baselines = spreads(scores.of_baselines, scores.sums)
                scores.of_baselines = None

    def unresolved(self, result: Attribution) -> set[str]:
        """Return the open keys whose points do not resolve the paths of the first examples."""
        return {key for key in self.open_keys if not resolved(result.by_key[key].path_gaps)}

    def _follow(self, extremes: Extremes | None, batch: MemberBatch, values: Tensor) -> None:
        """Add the values of a batch to the extremes of each unit."""
        if extremes is not None:
            members = self._members.within(batch.start, batch.stop)
            positions = self._members.example[members] - batch.start
            clusters = self._members.cluster[members]
            extremes.add(clusters=clusters, examples=positions, rows=batch.rows[positions], values=values)

    def _accumulate(self, record: MethodScores, batch: MemberBatch, values: Tensor, variance: ScoreVariance | None) -> None:
        of_range = self._members
        members = of_range.within(batch.start, batch.stop)
        clusters, positions = of_range.cluster[members], of_range.example[members] - batch.start
        groups = self._groups.of_member[members] if self._groups.total else None
        record.sums.add(clusters=clusters, sides=of_range.side[members], examples=positions, scores=values, groups=groups)
        if record.errors is not None and variance is not None:
            record.errors.add(clusters, positions, values, variance)
        for statistic, projections in record.projections.items():
            assert self._projector is not None
            projections[batch.start : batch.stop] = self._projector.project(values, statistic)
        kept = self._kept[members]
        for position, cluster in zip(positions[kept].tolist(), clusters[kept].tolist(), strict=True):
            # A copy, because a view of one row would keep the whole batch in memory.
            record.kept[cluster].append(values[position].to("cpu", torch.float32, copy=True))
