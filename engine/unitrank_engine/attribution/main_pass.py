"""The main pass runs every example along its path once, for all methods and targets of the job.

Methods that need the same points share their passes, and targets share the forward passes: each
point passes forward once, then backward once for each target. The scores are added to sums batch by
batch.
"""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import chain
from time import perf_counter

import torch
from torch import Tensor

from unitrank_engine.attribution.bootstrap import Groups
from unitrank_engine.attribution.grids import Grid
from unitrank_engine.attribution.open_spacing import PathsNotResolved, first_examples
from unitrank_engine.attribution.path_ends import EndPasses
from unitrank_engine.attribution.ranking_errors import all_scores
from unitrank_engine.attribution.scores import Attribution
from unitrank_engine.attribution.target_pass import TargetPass
from unitrank_engine.errors import EngineError
from unitrank_engine.job.clusters.membership import MemberBatch, Membership
from unitrank_engine.methods import METHODS, PathEnds, ScoringMethod
from unitrank_engine.methods.path.walk import input_walk, points_of_targets

STAGE = "attribution"

Methods = list[dict[str, ScoringMethod]]
"""For each target, its methods by `score_key`."""


class PassObserver:
    """Receives each batch of the main pass, before its tensors are freed."""

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
        began, results = perf_counter(), list[Attribution | PathsNotResolved]()
        groups = Groups.of(self.context, self.membership)
        for target in self.targets:
            target.begin(self.membership, groups)
            results.append(target.result)
        active = list(range(len(self.targets)))
        last_tried = int(first_examples(self.context, self.membership)[-1])
        passes = _Passes(self, active, observers)
        for first, stop, cluster in self.membership.batches(self.batch):
            while first < stop and active:
                batch = self.membership.batch(first, min(first + self.batch, stop), cluster)
                if self._run_batch(passes, batch):
                    first = batch.stop
                    if batch.start <= last_tried < batch.stop:
                        active, before = self._try_spacings(active, results), active
                        passes = passes if active == before else _Passes(self, active, observers)
        self._share(perf_counter() - began)
        for number in active:
            self.targets[number].end()
        return results

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
            self.halved = True
            return False
        return True

    def _try_spacings(self, active: list[int], results: list[Attribution | PathsNotResolved]) -> list[int]:
        """Return the targets whose open spacings resolve their paths."""
        unresolved = {number: self.targets[number].unresolved() for number in active}
        for number, keys in unresolved.items():
            if keys:
                results[number] = PathsNotResolved(keys)
        return [number for number in active if not unresolved[number]]

    def _share(self, seconds: float) -> None:
        """Split the seconds of the common passes among the rankings.

        A ranking's weight is 1, plus 1 for each of its points, plus 2 for each gradient.
        """
        records = [scores for target in self.targets for scores in target.result.by_key.values()]
        points = [METHODS[scores.entry.name].points(scores.entry).values() for scores in records]
        weights = [1 + len(each) + 2 * sum(each) for each in points]
        shared = seconds - sum(scores.seconds for scores in records)
        for scores, weight in zip(records, weights, strict=True):
            scores.seconds += shared * weight / sum(weights)

    def count(self, rows: int, *, backward: int, targets: int = 1, progress: int | None = None) -> None:
        """Count the rows of a pass.

        Called after every pass; raises Cancelled where the job must stop.

        `backward`: number of backward passes. `targets`: number of targets that the pass serves.
        `progress`: rows by which the progress advances, by default those of all targets.
        """
        self.context.cost.forward_rows += rows
        self.context.cost.backward_rows += rows * backward
        self.context.meter.advance(self.stage, rows * targets if progress is None else progress)


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
