"""The passes of one batch of the main pass: its examples run along their paths, for all targets."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain
from time import perf_counter
from typing import Any

from torch import Tensor

from unitrank_engine.attribution.baselines.means import BaselineMeans, Key
from unitrank_engine.attribution.grids import Grid
from unitrank_engine.attribution.path_ends import EndPasses
from unitrank_engine.attribution.ranking_errors import all_scores
from unitrank_engine.attribution.scores import Drops, MethodScores
from unitrank_engine.attribution.target_pass import TargetPass
from unitrank_engine.errors import EngineError
from unitrank_engine.job.baselines import Baselines
from unitrank_engine.job.clusters.range_members import MemberBatch, RangeMembers
from unitrank_engine.methods import PathEnds, Point, ScoringMethod
from unitrank_engine.methods.batch import Count, PathGap
from unitrank_engine.methods.path.shared_walk import SharedWalk
from unitrank_engine.methods.path.walk import input_walk, points_of_targets
from unitrank_schemas.base import Fill
from unitrank_schemas.methods import MethodBase

Methods = list[dict[str, ScoringMethod]]
"""For each target, its methods by `score_key`."""


class PassObserver:
    """Receives each batch of the main pass, before its tensors are freed."""

    fill: Fill | None = None
    """The fill of the units that the observer replaces."""
    drops: dict[str, Drops]
    """The drops of the examples of all ranges, by the `score_key` of the scores."""

    def begin(self, members: RangeMembers) -> None:
        """Begin the range of these examples."""

    def range_drops(self) -> Mapping[str, Drops]:
        """Return the drops of the range, by the `score_key` of the scores."""
        return {}

    def see_batch(self, batch: MemberBatch, ends: PathEnds, scores: dict[str, Tensor]) -> None:
        """Receive a batch: its examples, their path ends, and scores by key, `[rows, units]`."""


class BatchPasses:
    """Runs the batches of several targets together.

    `observers`: one for each target, or None.
    `count`: called after every pass with its rows.
    """

    def __init__(
        self, targets: Sequence[TargetPass], observers: Sequence[PassObserver | None], baselines: Baselines, count: Count
    ) -> None:
        self.targets = targets
        self.observers = observers
        self._count = count
        self._ends = EndPasses([target.explained for target in self.targets], baselines, count) if targets else None
        self._baselines = len(baselines.each)
        self._grids = list(dict.fromkeys(grid for target in self.targets for grid in target.grids))
        self._gaps: dict[Key, PathGap] = {}
        """The gaps of the batch's paths from the last baseline."""
        self._kept: dict[str, dict[str, Any]] = {}
        """`score_key` → what the method keeps of this batch for its other baselines."""

    def run(self, batch: MemberBatch, size: int) -> None:
        """Run a batch, show its scores to the observers, and add them to the sums.

        `size`: rows in one pass through the model, at most.
        """
        assert self._ends is not None
        self._gaps, self._kept = {}, defaultdict(dict)
        of_baselines = self._ends.each(batch.rows, batch.cluster)
        if self._baselines == 1:
            (ends,) = of_baselines
            by_key, gaps = self._scores(batch, ends, size, lambda entry: True), self._gaps
        else:
            ends, by_key, gaps = self._over_baselines(batch, of_baselines, size)
        scores = [{key: by_key[number, key] for key in target.entries} for number, target in enumerate(self.targets)]
        for (number, key), gap in gaps.items():
            self.targets[number].take_gap(key, batch, gap)
        self._kept = {}
        for observer, its_ends, its_scores in zip(self.observers, ends, scores, strict=True):
            if observer is not None:
                observer.see_batch(batch, its_ends, its_scores)
        for target, its_ends, its_scores in zip(self.targets, ends, scores, strict=True):
            target.add(batch, its_ends, its_scores)

    def _over_baselines(
        self, batch: MemberBatch, of_baselines: Iterable[list[PathEnds]], size: int
    ) -> tuple[list[PathEnds], dict[Key, Tensor], dict[Key, PathGap]]:
        """Return the mean ends, scores and gaps over all baselines.

        Methods that do not read the baseline run once, at the mean ends.
        """
        means = BaselineMeans(self._baselines)
        for target in self.targets:
            target.forget_baselines()
        for baseline, ends in enumerate(of_baselines):
            scores = self._scores(batch, ends, size, lambda entry: entry.needs_baseline)
            for (number, key), values in scores.items():
                self.targets[number].see_baseline(key, baseline, batch, values)
            means.add(ends, scores, self._gaps)
        ends = means.ends()
        return ends, self._scores(batch, ends, size, lambda entry: not entry.needs_baseline) | means.scores(), means.gaps()

    def _scores(
        self, batch: MemberBatch, ends: Sequence[PathEnds], size: int, chosen: Callable[[MethodBase], bool]
    ) -> dict[Key, Tensor]:
        """Hand each chosen method its points in ascending order; return each target's scores."""
        methods: Methods = [
            target.methods(batch, its_ends, size, self._count, self._kept, chosen)
            for target, its_ends in zip(self.targets, ends, strict=True)
        ]
        groups = self._groups(methods)
        for grid in self._grids:
            self._visit(grid, methods, ends, size)
        makers: dict[Key, Callable[[], Tensor]] = {}
        keys: dict[str, Key] = {}
        for number, target in enumerate(self.targets):
            for key, method in methods[number].items():
                makers[number, key] = partial(self._checked, groups[number, key], number, method)
            keys |= {id: (number, key) for id, key in target.keys.items()}
        return all_scores(makers, keys)

    def _groups(self, methods: Methods) -> dict[Key, "_Group"]:
        """Return for each target and method its group: this method for all targets of a layer."""
        groups: dict[Key, _Group] = {}
        # Two layers with one value have a place in common, and random streams of their own.
        for layer in dict.fromkeys(target.context.streams.key for target in self.targets):
            numbers = [number for number, target in enumerate(self.targets) if target.context.streams.key == layer]
            for key in dict.fromkeys(key for number in numbers for key in methods[number]):
                of_key = {number: methods[number][key] for number in numbers if key in methods[number]}
                group = _Group([self.targets[number].records[key] for number in of_key], of_key, key)
                groups |= {(number, key): group for number in of_key}
        return groups

    def _checked(self, group: "_Group", number: int, method: ScoringMethod) -> Tensor:
        scores = self.targets[number].check(group.key, method, group.scores(number))
        gap = method.gap()
        if gap is not None:
            self._gaps[number, group.key] = gap
        return scores

    def _visit(self, grid: Grid, methods: Methods, ends: Sequence[PathEnds], size: int) -> None:
        """Hand the points of one grid to the methods that need them: x′, the inner points, x."""
        numbers = [
            number
            for number, target in enumerate(self.targets)
            if any(key in methods[number] for key in target.grids.get(grid, ()))
        ]
        if not numbers:
            return
        starts, inputs = (list(enumerate(getattr(ends[number], end) for number in numbers)) for end in ("start", "input"))
        for index, point in chain(starts, self._inner_points(grid, numbers, ends, size), inputs):
            number = numbers[index]
            self.targets[number].visit(grid, methods[number], point.precise())

    def _inner_points(self, grid: Grid, numbers: Sequence[int], ends: Sequence[PathEnds], size: int) -> Iterator[tuple[int, Point]]:
        """Yield the points between the ends for the targets with these numbers."""
        contexts, of_targets = [self.targets[number].context for number in numbers], [ends[number] for number in numbers]
        if contexts[0].shared_splits:
            return SharedWalk(contexts, of_targets, size=size, count=self._count).points(dict(grid))
        walks = [
            input_walk(context, each, size=size, count=self._count, precision="float32")
            for context, each in zip(contexts, of_targets, strict=True)
        ]
        return points_of_targets(walks, dict(grid))


class _Group:
    """One method for all targets of a layer. Its scores are computed together, at the first call.

    `methods`: number of a target → the method.
    """

    def __init__(self, records: Sequence[MethodScores], methods: Mapping[int, ScoringMethod], key: str) -> None:
        self.key = key
        self._methods = methods
        self._records = records
        group = list(self._methods.values())
        type(group[0]).share(group)
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
