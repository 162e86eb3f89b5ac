"""Walks run a batch at points of a straight path.

The path is that of the inputs, x′ → x, or that of the place's values, h′ → h.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from unitrank_engine.job.baselines import Inputs
from unitrank_engine.job.context import JobContext
from unitrank_engine.job.targets import Fixed
from unitrank_engine.methods.batch import Count, PathEnds, Point, gradients_of
from unitrank_engine.methods.path.precision import Precision, computing
from unitrank_engine.methods.position import Position
from unitrank_engine.program.linearity.frontier import Frontier
from unitrank_engine.program.split import Live


@dataclass(frozen=True, kw_only=True)
class Section:
    """All values at one point of the path that carry the change of F, h first."""

    values: Sequence[Tensor]
    gradients: Sequence[Tensor]
    """∂F of each value."""
    f: Float[Tensor, " rows"]


@dataclass(frozen=True, kw_only=True)
class Walk(ABC):
    """Runs a batch of examples at points of their paths, several points in one pass."""

    context: JobContext
    fixed: Fixed
    size: int
    """Rows in one pass through the model, at most."""
    count: Count
    precision: Precision

    @property
    @abstractmethod
    def around(self) -> dict[int, int] | None:
        """The live values that carry a part of the change of F, by index, with their batch axes.

        None where such a value's rows are not separate.
        """

    @property
    def complete(self) -> bool:
        """Whether Σ ∂F/∂v · Δv over h and the values around it is the change of F."""
        return self.around is not None

    @property
    @abstractmethod
    def row_bytes(self) -> int:
        """Bytes of one example's section."""

    def section(self, position: Position) -> Section:
        """Run all examples at a position on their paths."""
        around = self.around or {}
        with computing(self.precision, self.context.device, self.context.program.module.graph):
            h, live = self.at([position])
            others = {index: _leaf(live.tensors[index]) for index in around}
            h = h.detach().requires_grad_()
            tensors = tuple(others.get(index, value) for index, value in enumerate(live.tensors))
            f = self.context.score(self.context.split.tail(h, Live(tensors, live.rows)), self.fixed)
            leaves = [h, *others.values()]
            gradients = _gradients_of(f, leaves)
        self.count(len(h), backward=True)
        axes = [0, *around.values()]
        return Section(
            values=[_precise(value.detach().movedim(axis, 0)) for value, axis in zip(leaves, axes, strict=True)],
            gradients=[_precise(gradient.movedim(axis, 0)) for gradient, axis in zip(gradients, axes, strict=True)],
            f=f.detach().double(),
        )

    @property
    def points_at_once(self) -> int:
        """Points of the path in one pass, at most."""
        return max(1, self.size // len(self.fixed.classes))

    def points(self, needs: Mapping[float, bool]) -> Iterator[Point]:
        """Yield the path's points in ascending order.

        `needs`: α → whether the gradient is needed there.
        """
        for _, point in points_of_targets([self], needs):
            yield point

    @abstractmethod
    def at(self, alphas: Sequence[float | Position]) -> tuple[Tensor, Live]:
        """Return h at these α, and the live values. h has all examples once for each α."""

    @abstractmethod
    def of(self, positions: Tensor) -> "Walk":
        """Return the walk of only the examples at these positions of the batch."""

    def _fixed_of(self, positions: Tensor) -> Fixed:
        return Fixed(self.fixed.classes[positions], self.fixed.rivals[positions])


def points_of_targets(walks: Sequence[Walk], needs: Mapping[float, bool]) -> Iterator[tuple[int, Point]]:
    """Yield the points of one path for each target, in ascending order, with the target's number.

    `walks`: walks along the same values, which differ in their targets only.
    `needs`: α → whether the gradients are needed there.

    Each point passes forward once, and backward once for each target.
    """
    alphas, at_once = sorted(needs), walks[0].points_at_once
    for first in range(0, len(alphas), at_once):
        chosen = alphas[first : first + at_once]
        yield from _pass(walks, chosen, any(needs[alpha] for alpha in chosen))


def _pass(walks: Sequence[Walk], alphas: Sequence[float], backward: bool) -> Iterator[tuple[int, Point]]:
    context, times, f = walks[0].context, len(alphas), list[Tensor]()
    precision = partial(computing, walks[0].precision, context.device, context.program.module.graph)
    with precision():
        h, live = walks[0].at(alphas)
        if backward:
            h = h.detach().requires_grad_()
            output = context.split.tail(h, live)
            f = [walk.context.score(output, walk.fixed.repeat(times)) for walk in walks]
    walks[0].count(len(h), backward=len(walks) * backward, targets=len(walks))
    values, of_targets = h.detach().chunk(times), gradients_of(f, h)
    for number in range(len(walks)):
        gradients: Sequence[Tensor | None] = [None] * times
        if backward:
            with precision():
                gradients = next(of_targets).chunk(times)
        for alpha, value, gradient in zip(alphas, values, gradients, strict=True):
            yield number, Point(alpha, value, gradient)


@dataclass(frozen=True, kw_only=True)
class InputWalk(Walk):
    """The path x′ → x of the model's inputs; integer inputs stay at x.

    Where the first operations are affine in the inputs, the walk interpolates their results instead
    of the inputs. Only the operations after them run at each point.
    """

    start: Inputs
    """x′."""
    end: Inputs
    """x."""
    affine_start: tuple[Tensor, ...]
    """The values on the frontier of the affine operations at x′.

    One row where all examples share x′.
    """
    affine_end: tuple[Tensor, ...]
    """The frontier's values at x."""

    @property
    def around(self) -> dict[int, int] | None:
        return self.context.split.around

    @property
    def row_bytes(self) -> int:
        return self.context.split.section_bytes

    def at(self, alphas: Sequence[float | Position]) -> tuple[Tensor, Live]:
        split = self.context.split
        if split.frontier is None:
            return split.head(inputs_between(self.start, self.end, alphas))
        inputs = inputs_between(self.start, self.end, alphas, split.frontier.reads)
        return split.head_behind(inputs, affine_between(split.frontier, self.affine_start, self.affine_end, alphas))

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


def inputs_between(start: Inputs, end: Inputs, alphas: Sequence[float | Position], reads: Sequence[bool] | None = None) -> Inputs:
    """Return the inputs at these α: all examples once for each α.

    `reads`: whether each input is read at all; others stay at `end`. By default all are read.
    """
    pairs = zip(start, end, reads or [True] * len(end), strict=True)
    return tuple(_between(first, last, alphas) if needed else last for first, last, needed in pairs)


def affine_between(
    frontier: Frontier, start: tuple[Tensor, ...], end: tuple[Tensor, ...], alphas: Sequence[float | Position]
) -> tuple[Tensor, ...]:
    """Return the values at the frontier at these α, from those at both ends of the path."""
    return tuple(_between(first, last, alphas, axis) for axis, first, last in zip(frontier.axes, start, end, strict=True))


def input_walk(context: JobContext, ends: PathEnds, *, size: int, count: Count, precision: Precision) -> InputWalk:
    """Return the walk along a batch's inputs, x′ → x."""
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
    """The path h′ → h of the place's values; the tail's other inputs (live values) stay at x."""

    x: Inputs
    live: Live
    """The live values at x."""
    start: Tensor
    """h′."""
    end: Tensor
    """h."""

    @property
    def points_at_once(self) -> int:
        # Live values whose batch axis is merged with another axis cannot be repeated, so each pass
        # has one point.
        return super().points_at_once if self.context.split.repeatable else 1

    @property
    def around(self) -> dict[int, int] | None:
        return {}

    @property
    def row_bytes(self) -> int:
        return 2 * self.end[0].nbytes

    def at(self, alphas: Sequence[float | Position]) -> tuple[Tensor, Live]:
        return _between(self.start, self.end, alphas), self.live

    def of(self, positions: Tensor) -> "Walk":
        x = tuple(tensor[positions] for tensor in self.x)
        _, live = self.context.split.head(x)
        fixed = self._fixed_of(positions)
        return replace(self, fixed=fixed, x=x, live=live, start=self.start[positions], end=self.end[positions])


def _some(value: Tensor, positions: Tensor, rows: int, axis: int = 0) -> Tensor:
    """Select some of the rows. A value that all rows share has one row and stays as it is."""
    return value.index_select(axis, positions) if value.shape[axis] == rows else value


def _gradients_of(f: Tensor, values: Sequence[Tensor]) -> Sequence[Tensor]:
    if not f.requires_grad:
        return [torch.zeros_like(value) for value in values]
    return torch.autograd.grad(f.sum(), values, materialize_grads=True)


def _leaf(value: Tensor | int) -> Tensor:
    """Return a tensor whose gradient is taken."""
    assert isinstance(value, Tensor)
    return value.detach().requires_grad_()


def _precise(value: Tensor) -> Tensor:
    """Return the value in at least float32."""
    return value.to(torch.promote_types(value.dtype, torch.float32))


def _between(start: Tensor, end: Tensor, alphas: Sequence[float | Position], axis: int = 0) -> Tensor:
    """Return start + α · (end − start) at these α: all examples once for each α.

    Integer tensors stay at `end`.
    """
    if not end.is_floating_point():
        return end.repeat(len(alphas), *[1] * (end.dim() - 1))
    points = [alpha.between(start, end, axis) if isinstance(alpha, Position) else torch.lerp(start, end, alpha) for alpha in alphas]
    return points[0] if len(points) == 1 else torch.cat(points, axis)
