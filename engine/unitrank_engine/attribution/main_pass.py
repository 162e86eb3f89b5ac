"""The main pass runs every example along its path once, for all methods and targets of the job.

Methods that need the same points share their passes, and targets share the forward passes: each
point passes forward once, then backward once for each target. The scores are added to sums batch by
batch.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from time import perf_counter

import numpy as np
import torch

from unitrank_engine.attribution.batch_passes import BatchPasses, PassObserver
from unitrank_engine.attribution.bootstrap import Groups, MemberGroups
from unitrank_engine.attribution.examples.extremes import follows
from unitrank_engine.attribution.open_spacing import PathsNotResolved
from unitrank_engine.attribution.range_scores import attribution_from, drops_from, of_targets, range_result
from unitrank_engine.attribution.scores import Attribution, Drops
from unitrank_engine.attribution.target_pass import TargetPass
from unitrank_engine.job.batch_size import rows_of_range
from unitrank_engine.job.clusters.membership import membership_of, ranges_of_examples
from unitrank_engine.job.clusters.range_members import MemberBatch
from unitrank_engine.job.context import JobContext, first_rows
from unitrank_engine.methods import METHODS
from unitrank_engine.program import Split
from unitrank_tables.range_result import RangeResult, join_results, merged

STAGE = "attribution"


class MainPass:
    """Computes the scores of all methods for all examples of a job, for one target or several.

    `targets`: have the same model, examples and baselines, and the same place or shared passes.
    `stage`: the stage of the job whose progress advances.
    """

    def __init__(self, targets: Sequence[TargetPass], stage: str = STAGE) -> None:
        self.targets = list(targets)
        self.stage = stage
        self.context, fills = targets[0].context, targets[0].fills
        self.batch = fills.batch
        self.halved = False
        """Whether memory ran out, so that batches are smaller and sums round differently."""
        self.membership = membership_of(self.context, fills.baselines.grouped)
        self._baselines = fills.baselines

    def plan(self, times: int = 1) -> None:
        """Announce the stage's rows to the progress meter, for this number of runs.

        The estimate counts a gradient as two more passes of the tail, and every extra pass of a
        method as one with a gradient.
        """
        passes = backward = 0
        for target in self.targets:
            paths, extra, needs = len(self._baselines.each), target.extra_passes, target.explained.needs
            passes += 1 + paths * (1 + target.inner_points) + extra
            backward += needs[1.0] + paths * (needs[0.0] + target.inner_points) + extra
        split = self._longest
        rows = times * len(self.membership) * passes
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
        last_tried = self.membership.last_up_to(int(self.context.once(first_rows)[-1]))
        followed = [self._follows(target, len(ranges)) for target in self.targets]
        shared = _Shared(observers, self._groups(), _last_kept(self.context), last_tried, followed)
        # The ranges up to this example are a pass of their own in every job, so that sums do not
        # depend on whether a spacing is open.
        tried = next(number for number, each in enumerate(ranges, 1) if last_tried < each.stop)
        everyone = range(len(self.targets))
        result = self._run_ranges(ranges[:tried], everyone, shared)
        results = self._try_spacings(result)
        active = [number for number in everyone if not isinstance(results[number], PathsNotResolved)]
        if ranges[tried:] and active:
            rest = self._run_ranges(ranges[tried:], active, shared)
            result = join_results([of_targets(result, active), rest])
        for number in active:
            target, observer = self.targets[number], observers[number]
            results[number] = attribution = attribution_from(result, number, target.entries, self.membership, self.context.device)
            target.end(attribution, shared.groups[number])
            if observer is not None:
                observer.drops = drops_from(result, number, target.entries)
        self._share(perf_counter() - began, computed=float(result.sums["seconds"][0]))
        return results

    @property
    def _longest(self) -> Split:
        """The split of the target with the longest tail."""
        return max((target.context.split for target in self.targets), key=lambda split: split.tail_cost)

    def _follows(self, target: TargetPass, ranges: int) -> bool:
        """Return whether the pass keeps the examples with extreme values of each unit of a target.

        Nothing reads single examples of a model with permuted weights.
        """
        context = target.context
        classes = sum(each.context.split is context.split for each in self.targets)
        return context.truth is None and follows(
            clusters=len(context.clusters), units=context.units.count, classes=classes, ranges=ranges
        )

    def _groups(self) -> list[Groups]:
        """Return the groups of the bootstrap of each target. Targets of one layer share them."""
        by_layer: dict[str, Groups] = {}
        for context in (target.context for target in self.targets):
            if context.streams.key not in by_layer:
                by_layer[context.streams.key] = Groups.of(context, self.membership)
        return [by_layer[target.context.streams.key] for target in self.targets]

    def _ranges(self) -> list[range]:
        """Return the ranges of examples; they do not depend on the job's methods."""
        context, split = self.context, self._longest
        operations = split.cost + 2 * split.tail_cost
        rows = rows_of_range(operations, clusters=len(context.clusters), batch=self.batch, device=context.device)
        return ranges_of_examples(self.membership, rows, self.batch)

    def _prepare_fills(self, observers: Sequence[PassObserver | None]) -> None:
        for target, observer in zip(self.targets, observers, strict=True):
            of_entries = [getattr(entry, "fill", None) for entry in target.entries.values()]
            target.fills.prepare([*of_entries, *([] if observer is None else [observer.fill])])

    def _run_ranges(self, ranges: Sequence[range], active: Sequence[int], shared: "_Shared") -> RangeResult:
        """Return the joined result of some ranges, for the targets with these numbers."""
        before = self.context.cost.halvings
        result = self.context.run_pass(self.stage, ranges, lambda examples: self._range(examples, active, shared))
        self.halved = self.halved or self.context.cost.halvings > before
        return result

    def _range(self, examples: range, active: Sequence[int], shared: "_Shared") -> RangeResult:
        began, part = perf_counter(), self.membership.part(examples)
        of_range: dict[int, MemberGroups] = {}
        kept = part.rows[part.example] <= shared.last_kept[part.cluster]
        for number in active:
            groups = shared.groups[number]
            if id(groups) not in of_range:
                of_range[id(groups)] = groups.of_range(self.membership, examples, part)
            self.targets[number].begin(part, of_range[id(groups)], kept, shared.followed[number])
            observer = shared.observers[number]
            if observer is not None:
                observer.begin(part)
        passes = self._passes(active, shared)
        for first, stop, cluster in part.batches(self.batch):
            while first < stop and passes.targets:
                batch = part.batch(first, min(first + self.batch, stop), cluster)
                if self._run_batch(passes, batch):
                    first = batch.stop
                    if examples.start == 0 and batch.start <= shared.last_tried < batch.stop:
                        passes = self._without_unresolved(passes, active, shared)
        result = merged(
            range_result(number, self.targets[number].range_sums(self.membership), shared.drops(number)) for number in active
        )
        return replace(result, sums={**result.sums, "seconds": np.array([perf_counter() - began])})

    def _passes(self, active: Sequence[int], shared: "_Shared") -> BatchPasses:
        observers = [shared.observers[number] for number in active]
        return BatchPasses([self.targets[number] for number in active], observers, self._baselines, self.count)

    def _without_unresolved(self, passes: BatchPasses, active: Sequence[int], shared: "_Shared") -> BatchPasses:
        """Return the passes of the targets that have no open spacing, or one that is resolved.

        The results of all other targets are not used.
        """
        resolved = [number for number in active if not self.targets[number].unresolved_here()]
        return passes if len(resolved) == len(active) else self._passes(resolved, shared)

    def _run_batch(self, passes: BatchPasses, batch: MemberBatch) -> bool:
        """Run one batch and add it to the results; return False where memory ran out.

        In that case nothing of the batch is added, and later batches have half its rows.
        """
        try:
            passes.run(batch, self.batch)
        except torch.OutOfMemoryError:
            if self.batch == 1:
                raise
            self.batch //= 2
            self.context.cost.halvings += 1
            return False
        return True

    def _try_spacings(self, result: RangeResult) -> list[Attribution | PathsNotResolved]:
        """Return each target's scores of the first examples, or that its paths are not resolved."""
        results = list[Attribution | PathsNotResolved]()
        for number, target in enumerate(self.targets):
            target.result = attribution_from(result, number, target.entries, self.membership, self.context.device)
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
    """Values that the ranges of a pass share. `groups` and `followed` have one for each target.

    `last_kept`: the last row of each cluster whose scores are kept, or −1.
    `last_tried`: the last one of the first examples, which decide about open spacings.
    `followed`: whether the examples with extreme values of each unit are kept.
    """

    observers: Sequence[PassObserver | None]
    groups: Sequence[Groups]
    last_kept: np.ndarray
    last_tried: int
    followed: Sequence[bool]

    def drops(self, number: int) -> Mapping[str, Drops]:
        """Return the drops of a range's examples for a target."""
        observer = self.observers[number]
        return {} if observer is None else observer.range_drops()


def _last_kept(context: JobContext) -> np.ndarray:
    count = context.request.keep_examples
    return np.array([cluster.rows[:count][-1] if count else -1 for cluster in context.clusters])
