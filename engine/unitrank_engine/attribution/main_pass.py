"""The main pass runs every example along its path once, for all methods and targets of the job.

Methods that need the same points share their passes, and targets share the forward passes: each
point passes forward once, then backward once for each target. The scores are added to sums batch by
batch.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from time import perf_counter

import numpy as np
import torch
from torch import Tensor

from unitrank_engine.attribution.bootstrap import Groups
from unitrank_engine.attribution.grids import Grid
from unitrank_engine.attribution.open_spacing import PathsNotResolved, first_examples
from unitrank_engine.attribution.path_ends import EndPasses
from unitrank_engine.attribution.range_scores import attribution_from, drops_from, of_targets, range_result
from unitrank_engine.attribution.ranking_errors import all_scores
from unitrank_engine.attribution.scores import Attribution, Drops
from unitrank_engine.attribution.target_pass import TargetPass
from unitrank_engine.errors import EngineError
from unitrank_engine.job.batch_size import rows_of_range
from unitrank_engine.job.clusters.membership import MemberBatch, Membership
from unitrank_engine.methods import METHODS, PathEnds, ScoringMethod
from unitrank_engine.methods.path.walk import input_walk, points_of_targets
from unitrank_schemas.base import Fill
from unitrank_tables.range_result import RangeResult, join_results, merged

STAGE = "attribution"

Methods = list[dict[str, ScoringMethod]]
"""For each target, its methods by `score_key`."""


class PassObserver:
    """Receives each batch of the main pass, before its tensors are freed."""

    fill: Fill | None = None
    """The fill of the units that the observer replaces."""
    drops: dict[str, Drops]
    """The drops of each example, by the `score_key` of the scores: of a range, or of all."""

    def begin(self, examples: int) -> None:
        """Begin a range with this number of examples."""

    def see_batch(self, batch: MemberBatch, ends: PathEnds, scores: dict[str, Tensor]) -> None:
        """Receive a batch: its examples, their path ends, and scores by key, `[rows, units]`."""


class MainPass:
    """Computes the scores of all methods for all examples of a job, for one target or several.

    `targets`: have the same model, place, examples and baselines.
    `stage`: the stage of the job whose progress advances.
    """

    def __init__(self, targets: Sequence[TargetPass], stage: str = STAGE) -> None:
        self.targets = list(targets)
        self.stage = stage
        self.context, fills = targets[0].context, targets[0].fills
        self.batch = fills.batch
        self.halved = False
        """Whether memory ran out, so that batches are smaller and sums round differently."""
        self.membership = Membership.of(self.context, fills.baselines.grouped)
        self._baselines = fills.baselines

    def plan(self, times: int = 1) -> None:
        """Announce the stage's rows to the progress meter, for this number of runs.

        The estimate counts a gradient as two more passes of the tail, and every extra pass of a
        method as one with a gradient.
        """
        passes = backward = 0
        for target in self.targets:
            inner, extra = target.inner_points, target.extra_passes
            passes += 2 + inner + extra
            backward += sum(target.explained.needs.values()) + inner + extra
        split = self.context.split
        rows = times * len(self.membership.rows) * passes
        self.context.meter.plan(self.stage, rows, split.cost + 2 * split.tail_cost * backward / passes)

    def run(self, observers: Sequence[PassObserver | None]) -> list[Attribution | PathsNotResolved]:
        """Run all examples; return the result of each target.

        A target has no attribution where an open spacing does not resolve the paths of the first
        examples. Its other examples are not computed.

        `observers`: for each target, receives every batch with its scores.

        Raises EngineError `non_finite` or `class_out_of_range`.
        """
        began, ranges = perf_counter(), self._ranges()
        self._prepare_fills(observers)
        groups, kept = Groups.of(self.context, self.membership), self.membership.first(self.context.request.keep_examples)
        last_tried = int(first_examples(self.context, self.membership)[-1])
        shared = _Shared(observers, groups, kept, last_tried)
        # The ranges up to this example are a pass of their own in every job, so that sums do not
        # depend on whether a spacing is open.
        tried = next(number for number, each in enumerate(ranges, 1) if last_tried < each.stop)
        everyone = range(len(self.targets))
        result = self._run_ranges(ranges[:tried], everyone, shared)
        results = self._try_spacings(result, self.membership.part(range(ranges[tried - 1].stop)))
        active = [number for number in everyone if not isinstance(results[number], PathsNotResolved)]
        if ranges[tried:] and active:
            rest = self._run_ranges(ranges[tried:], active, shared)
            result = join_results([of_targets(result, active), rest])
        for number in active:
            target, observer = self.targets[number], observers[number]
            results[number] = attribution = attribution_from(result, number, target.entries, self.membership, self.context.device)
            target.end(attribution, shared.groups)
            if observer is not None:
                observer.drops = drops_from(result, number, target.entries)
        self._share(perf_counter() - began, computed=float(result.sums["seconds"][0]))
        return results

    def _ranges(self) -> list[range]:
        """Return the ranges of examples; they do not depend on the job's methods."""
        context, split = self.context, self.context.split
        operations = split.cost + 2 * split.tail_cost
        rows = rows_of_range(operations, clusters=len(context.clusters), batch=self.batch, device=context.device)
        return self.membership.ranges(rows, self.batch)

    def _prepare_fills(self, observers: Sequence[PassObserver | None]) -> None:
        fills = [getattr(entry, "fill", None) for target in self.targets for entry in target.entries.values()]
        fills += [observer.fill for observer in observers if observer is not None]
        self.targets[0].fills.prepare(fills)

    def _run_ranges(self, ranges: Sequence[range], active: Sequence[int], shared: "_Shared") -> RangeResult:
        """Return the joined result of some ranges, for the targets with these numbers."""
        before = self.context.cost.halvings
        result = self.context.run_pass(self.stage, ranges, lambda examples: self._range(examples, active, shared))
        self.halved = self.halved or self.context.cost.halvings > before
        return result

    def _range(self, examples: range, active: Sequence[int], shared: "_Shared") -> RangeResult:
        began, part = perf_counter(), self.membership.part(examples)
        shared = shared.part(self.membership.within(examples.start, examples.stop))
        for number in active:
            self.targets[number].begin(part, shared.groups, shared.kept)
            observer = shared.observers[number]
            if observer is not None:
                observer.begin(len(examples))
        passes = _Passes(self, active, shared.observers)
        for first, stop, cluster in part.batches(self.batch):
            while first < stop and passes.targets:
                batch = part.batch(first, min(first + self.batch, stop), cluster)
                if self._run_batch(passes, batch):
                    first = batch.stop
                    if examples.start == 0 and batch.start <= shared.last_tried < batch.stop:
                        passes = self._without_unresolved(passes, active, shared)
        result = merged(range_result(number, self.targets[number].result, shared.drops(number)) for number in active)
        return replace(result, sums={**result.sums, "seconds": np.array([perf_counter() - began])})

    def _without_unresolved(self, passes: "_Passes", active: Sequence[int], shared: "_Shared") -> "_Passes":
        """Return the passes of the targets that have no open spacing, or one that is resolved.

        The results of all other targets are not used.
        """
        resolved = [number for number in active if not self.targets[number].unresolved(self.targets[number].result)]
        return passes if len(resolved) == len(active) else _Passes(self, resolved, shared.observers)

    def _run_batch(self, passes: "_Passes", batch: MemberBatch) -> bool:
        """Run one batch and add it to the results; return False where memory ran out.

        In that case nothing of the batch is added, and later batches have half its rows.
        """
        try:
            passes.run(batch)
        except torch.OutOfMemoryError:
            if self.batch == 1:
                raise
            self.batch //= 2
            self.context.cost.halvings += 1
            return False
        return True

    def _try_spacings(self, result: RangeResult, membership: Membership) -> list[Attribution | PathsNotResolved]:
        """Return each target's scores of the first examples, or that its paths are not resolved."""
        results = list[Attribution | PathsNotResolved]()
        for number, target in enumerate(self.targets):
            target.result = attribution_from(result, number, target.entries, membership, self.context.device)
            unresolved = target.unresolved(target.result)
            results.append(PathsNotResolved(unresolved) if unresolved else target.result)
        return results

    def _share(self, seconds: float, computed: float) -> None:
        """Split the seconds of the pass among the rankings.

        A ranking's weight in the common passes is 1, plus 1 for each of its points, plus 2 for each
        gradient.

        `computed`: the seconds of all ranges together, which nodes compute at the same time.
        """
        records = [scores for target in self.targets for scores in target.result.by_key.values()]
        points = [METHODS[scores.entry.name].points(scores.entry).values() for scores in records]
        weights = [1 + len(each) + 2 * sum(each) for each in points]
        common = computed - sum(scores.seconds for scores in records)
        for scores, weight in zip(records, weights, strict=True):
            scores.seconds = (scores.seconds + common * weight / sum(weights)) * seconds / computed

    def count(self, rows: int, *, backward: int, targets: int = 1, progress: int | None = None) -> None:
        """Count the rows of a pass.

        Called after every pass; raises Cancelled where the job must stop.

        `backward`: number of backward passes. `targets`: number of targets that the pass serves.
        `progress`: rows by which the progress advances, by default those of all targets.
        """
        self.context.cost.forward_rows += rows
        self.context.cost.backward_rows += rows * backward
        self.context.meter.advance(self.stage, rows * targets if progress is None else progress)


@dataclass(frozen=True)
class _Shared:
    """Values that the ranges of a pass share.

    `groups`: the bootstrap groups. `kept`: whether the scores of each membership are kept.
    `last_tried`: the last one of the first examples, which decide about open spacings.
    """

    observers: Sequence[PassObserver | None]
    groups: Groups
    kept: np.ndarray
    last_tried: int

    def drops(self, number: int) -> dict[str, Drops]:
        """Return the drops of a range's examples for a target."""
        observer = self.observers[number]
        return {} if observer is None else observer.drops

    def part(self, members: slice) -> "_Shared":
        return replace(self, groups=self.groups.part(members), kept=self.kept[members])


class _Passes:
    """Runs the batches of several targets together.

    `active`: the numbers of the targets.
    """

    def __init__(self, main: MainPass, active: Sequence[int], observers: Sequence[PassObserver | None]) -> None:
        self.main = main
        self.targets = [main.targets[number] for number in active]
        self.observers = [observers[number] for number in active]
        self._ends = EndPasses([target.explained for target in self.targets], main._baselines, main.count) if active else None
        self._grids = list(dict.fromkeys(grid for target in self.targets for grid in target.grids))

    def run(self, batch: MemberBatch) -> None:
        """Run a batch, show its scores to the observers, and add them to the sums."""
        assert self._ends is not None
        ends = self._ends.of(batch.rows, batch.cluster)
        scores = self._scores(batch, ends)
        for observer, its_ends, its_scores in zip(self.observers, ends, scores, strict=True):
            if observer is not None:
                observer.see_batch(batch, its_ends, its_scores)
        for target, its_ends, its_scores in zip(self.targets, ends, scores, strict=True):
            target.add(batch, its_ends, its_scores)

    def _scores(self, batch: MemberBatch, ends: Sequence[PathEnds]) -> list[dict[str, Tensor]]:
        """Hand each method its points in ascending order; return each target's scores by key."""
        methods: Methods = [
            target.methods(batch, its_ends, self.main.batch, self.main.count)
            for target, its_ends in zip(self.targets, ends, strict=True)
        ]
        for grid in self._grids:
            self._visit(grid, methods, ends)
        makers: dict[tuple[int, str], Callable[[], Tensor]] = {}
        keys: dict[str, tuple[int, str]] = {}
        groups = {key: _Group(self.targets, methods, key) for key in dict.fromkeys(key for each in methods for key in each)}
        for number, target in enumerate(self.targets):
            for key, method in methods[number].items():
                makers[number, key] = partial(self._checked, groups[key], number, method, batch)
            keys |= {id: (number, key) for id, key in target.keys.items()}
        scores = all_scores(makers, keys)
        return [{key: scores[number, key] for key in each} for number, each in enumerate(methods)]

    def _checked(self, group: "_Group", number: int, method: ScoringMethod, batch: MemberBatch) -> Tensor:
        return self.targets[number].check(group.key, method, batch, group.scores(number))

    def _visit(self, grid: Grid, methods: Methods, ends: Sequence[PathEnds]) -> None:
        """Hand the points of one grid to the methods that need them: x′, the inner points, x."""
        numbers = [number for number, target in enumerate(self.targets) if grid in target.grids]
        walks = [
            input_walk(self.targets[number].context, ends[number], size=self.main.batch, count=self.main.count, precision="float32")
            for number in numbers
        ]
        starts, inputs = (list(enumerate(getattr(ends[number], end) for number in numbers)) for end in ("start", "input"))
        for index, point in chain(starts, points_of_targets(walks, dict(grid)), inputs):
            number = numbers[index]
            self.targets[number].visit(grid, methods[number], point.precise())


class _Group:
    """One method for all targets. Its scores are computed together, at the first call."""

    def __init__(self, targets: Sequence[TargetPass], methods: Methods, key: str) -> None:
        self.key = key
        self._methods = {number: each[key] for number, each in enumerate(methods) if key in each}
        self._records = [targets[number].result.by_key[key] for number in self._methods]
        self._scores: dict[int, Tensor] = {}
        self._error: EngineError | None = None

    def scores(self, number: int) -> Tensor:
        """Return the scores of a target. Raises the EngineError of the method for all targets."""
        if not self._scores and self._error is None:
            self._compute()
        if self._error is not None:
            raise self._error
        return self._scores[number]

    def _compute(self) -> None:
        began, group = perf_counter(), list(self._methods.values())
        try:
            self._scores = dict(zip(self._methods, type(group[0]).by_target(group), strict=True))
        except EngineError as error:
            self._error = error
        for record in self._records:
            record.seconds += (perf_counter() - began) / len(group)
