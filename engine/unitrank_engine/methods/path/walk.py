"""Walks a batch along a straight path: of the inputs, or of the place's own values."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from unitrank_engine.job.baselines import Inputs
from unitrank_engine.job.context import JobContext
from unitrank_engine.job.targets import Fixed
from unitrank_engine.methods.batch import Count, PathEnds, Point, gradient_of
from unitrank_engine.methods.path.precision import Precision, computing
from unitrank_engine.program.split import Live


@dataclass(frozen=True, kw_only=True)
class Walk(ABC):
    """Runs a batch at any points of its path, as many of them in one pass as make up a full batch."""

    context: JobContext
    fixed: Fixed
    size: int
    """Rows that go through the model at once."""
    count: Count
    precision: Precision

    def points(self, needs: Mapping[float, bool]) -> Iterator[Point]:
        """The path's points in ascending order; `needs` says of each α whether the gradient is wanted there."""
        alphas = sorted(needs)
        together = max(1, self.size // len(self.fixed.classes))
        for first in range(0, len(alphas), together):
            chosen = alphas[first : first + together]
            yield from self._pass(chosen, any(needs[alpha] for alpha in chosen))

    @abstractmethod
    def at(self, alphas: Sequence[float]) -> tuple[Tensor, Live]:
        """h at these α, one full round of examples after another, and the live values beside it."""

    @abstractmethod
    def of(self, positions: Tensor) -> "Walk":
        """The same for some of the examples."""

    def _pass(self, alphas: Sequence[float], backward: bool) -> list[Point]:
        times = len(alphas)
        gradients: Sequence[Tensor | None] = [None] * times
        with computing(self.precision, self.context.device):
            h, live = self.at(alphas)
            if backward:
                h = h.detach().requires_grad_()
                f = self.context.score(self.context.split.tail(h, live), self.fixed.repeat(times))
                gradients = gradient_of(f, h).chunk(times)
        self.count(len(h), backward=backward)
        return [Point(*values) for values in zip(alphas, h.detach().chunk(times), gradients, strict=True)]

    def _fixed_of(self, positions: Tensor) -> Fixed:
        return Fixed(self.fixed.classes[positions], self.fixed.rivals[positions])


@dataclass(frozen=True, kw_only=True)
class InputWalk(Walk):
    """The path x′ → x of the model's inputs; integers stay as they are."""

    start: Inputs
    end: Inputs
    affine_start: tuple[Tensor, ...]
    """At the frontier of what is affine in the inputs; of one row where all examples share their baseline."""
    affine_end: tuple[Tensor, ...]

    def at(self, alphas: Sequence[float]) -> tuple[Tensor, Live]:
        split, pairs = self.context.split, zip(self.start, self.end, strict=True)
        if split.frontier is None:
            return split.head(tuple(_between(start, end, alphas) for start, end in pairs))
        read = zip(split.frontier.reads, pairs, strict=True)
        # what the way from the frontier does not read is not made
        inputs = tuple(_between(*pair, alphas) if needed else pair[1] for needed, pair in read)
        values = zip(split.frontier.axes, self.affine_start, self.affine_end, strict=True)
        return split.head_behind(inputs, tuple(_between(start, end, alphas, axis) for axis, start, end in values))

    def of(self, positions: Tensor) -> "Walk":
        rows, frontier = len(self.end[0]), self.context.split.frontier
        start, end = (tuple(_some(tensor, positions, rows) for tensor in inputs) for inputs in (self.start, self.end))
        axes = [] if frontier is None else frontier.axes
        affine_start, affine_end = (
            tuple(_some(tensor, positions, rows, axis) for tensor, axis in zip(values, axes, strict=True))
            for values in (self.affine_start, self.affine_end)
        )
        fixed = self._fixed_of(positions)
        return replace(self, fixed=fixed, start=start, end=end, affine_start=affine_start, affine_end=affine_end)


def input_walk(context: JobContext, ends: PathEnds, *, size: int, count: Count, precision: Precision) -> InputWalk:
    """The path of a batch's inputs."""
    return InputWalk(
        context=context,
        fixed=ends.fixed,
        size=size,
        count=count,
        precision=precision,
        start=ends.baseline,
        end=ends.x,
        affine_start=ends.affine_baseline,
        affine_end=ends.affine,
    )


@dataclass(frozen=True, kw_only=True)
class PlaceWalk(Walk):
    """The path h′ → h in the place's own space; what goes around the place stays as it is at x."""

    x: Inputs
    live: Live
    """At x."""
    start: Tensor
    end: Tensor

    def points(self, needs: Mapping[float, bool]) -> Iterator[Point]:
        # live values whose batch is folded into another size cannot be repeated: one point a pass
        walk = self if self.context.split.repeatable else replace(self, size=1)
        return super(PlaceWalk, walk).points(needs)

    def at(self, alphas: Sequence[float]) -> tuple[Tensor, Live]:
        return _between(self.start, self.end, alphas), self.live

    def of(self, positions: Tensor) -> "Walk":
        x = tuple(tensor[positions] for tensor in self.x)
        _, live = self.context.split.head(x)
        fixed = self._fixed_of(positions)
        return replace(self, fixed=fixed, x=x, live=live, start=self.start[positions], end=self.end[positions])


def _some(value: Tensor, positions: Tensor, rows: int, axis: int = 0) -> Tensor:
    """Some of the rows; all of one that stands for them all."""
    return value.index_select(axis, positions) if value.shape[axis] == rows else value


def _between(start: Tensor, end: Tensor, alphas: Sequence[float], axis: int = 0) -> Tensor:
    """The path's points at these α, one full round of examples after another; integers stay as they are."""
    if not end.is_floating_point():
        return end.repeat(len(alphas), *[1] * (end.dim() - 1))
    points = [torch.lerp(start, end, alpha) for alpha in alphas]
    return points[0] if len(points) == 1 else torch.cat(points, axis)
