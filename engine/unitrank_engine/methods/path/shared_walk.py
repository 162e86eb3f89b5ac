"""A walk along the inputs' path that passes the places of several layers at once."""

from collections.abc import Iterator, Mapping, Sequence

import torch

from unitrank_engine.job.context import JobContext, shared_split
from unitrank_engine.job.fills import expanded
from unitrank_engine.methods.batch import Count, PathEnds, Point, gradients_at
from unitrank_engine.methods.path.walk import affine_between, inputs_between
from unitrank_engine.program.shared_split import SharedValues


class SharedWalk:
    """Runs a batch at points of the path x′ → x for targets at several places.

    Each point passes forward once, and backward once for each class.

    `contexts`, `ends`: of each target.
    `size`: rows in one pass through the model, at most.
    """

    def __init__(self, contexts: Sequence[JobContext], ends: Sequence[PathEnds], *, size: int, count: Count) -> None:
        self._contexts = contexts
        self._ends = ends
        self._count = count
        self._split = shared_split(contexts[0])
        self._number = [self._split.splits.index(context.split) for context in contexts]
        self._rows = len(ends[0].fixed.classes)
        self._at_once = max(1, size // self._rows)
        first = ends[0]
        self._start, self._end = (self._split.affine(inputs) for inputs in (expanded(first.baseline, self._rows), first.x))

    def points(self, needs: Mapping[float, bool]) -> Iterator[tuple[int, Point]]:
        """Yield the points in ascending order for each target, with the target's number.

        `needs`: α → whether the gradients are needed there.
        """
        alphas = sorted(needs)
        for first in range(0, len(alphas), self._at_once):
            chosen = alphas[first : first + self._at_once]
            yield from self._pass(chosen, backward=any(needs[alpha] for alpha in chosen))

    def _pass(self, alphas: Sequence[float], *, backward: bool) -> Iterator[tuple[int, Point]]:
        times, values = len(alphas), self._values(alphas)
        groups = self._by_class() if backward else []
        self._count(times * self._rows, backward=len(groups), targets=len(self._contexts))
        with torch.enable_grad():
            f = [self._contexts[group[0]].score(values.output, self._ends[group[0]].fixed.repeat(times)) for group in groups]
        axes = [split.place.batch_axis for split in self._split.splits]
        h = [value.detach().movedim(axis, 0).chunk(times) for value, axis in zip(values.places, axes, strict=True)]
        if not backward:
            yield from self._points(range(len(self._contexts)), alphas, h, [[None] * times] * len(self._contexts))
        places = [[values.places[self._number[target]] for target in group] for group in groups]
        for group, gradients in zip(groups, gradients_at(f, places), strict=True):
            of_group = [
                each.movedim(axes[self._number[target]], 0).chunk(times) for target, each in zip(group, gradients, strict=True)
            ]
            yield from self._points(group, alphas, h, of_group)

    def _points(
        self,
        targets: Sequence[int],
        alphas: Sequence[float],
        h: Sequence[Sequence[torch.Tensor]],
        gradients: Sequence[Sequence[torch.Tensor | None]],
    ) -> Iterator[tuple[int, Point]]:
        for target, of_target in zip(targets, gradients, strict=True):
            for alpha, value, gradient in zip(alphas, h[self._number[target]], of_target, strict=True):
                yield target, Point(alpha, value, gradient)

    def _values(self, alphas: Sequence[float]) -> SharedValues:
        ends, frontier = self._ends[0], self._split.frontier
        if frontier is None:
            return self._split.run(inputs_between(ends.baseline, ends.x, alphas))
        inputs = inputs_between(ends.baseline, ends.x, alphas, frontier.reads)
        return self._split.run(inputs, affine_between(frontier, self._start, self._end, alphas))

    def _by_class(self) -> list[list[int]]:
        """The numbers of the targets of each class, which have the same F."""
        by_class: dict[int | None, list[int]] = {}
        for number, context in enumerate(self._contexts):
            by_class.setdefault(context.target_class, []).append(number)
        return list(by_class.values())
