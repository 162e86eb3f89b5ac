"""Ablation curves: mean F and accuracy after the first k units of an order are replaced.

A curve has one value for each count k, over the test examples of a cluster. The curve falls fast if
F depends on the first units of the order. A mask is a pair of an order and a count k.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from unitrank_engine.ablation.masks.nested import AffineEnd, Nested
from unitrank_engine.errors import EngineError
from unitrank_engine.job.context import JobContext
from unitrank_engine.job.targets import Fixed
from unitrank_engine.program.split import Live

STAGE = "ablation"


@dataclass(frozen=True)
class ClusterTest:
    """A batch of test examples of one cluster, before any unit is replaced."""

    h: Float[Tensor, "rows *place"]
    live: Live
    fixed: Fixed
    labels: Int[Tensor, " rows"] | None
    right: Bool[Tensor, " rows"] | None
    """Whether each example is classified as labelled; None without labels."""
    fill: Float[Tensor, "one_or_rows *place"]
    """The values that replace units."""
    affine_end: AffineEnd | None
    """The values at the end of the affine part; None where masks of one order share no work."""
    replaced_end: AffineEnd | None = None
    """The same with all units replaced; only `kept` needs it."""

    def kept(self) -> "ClusterTest":
        """Return the same examples, with all units replaced; a mask then brings units back."""
        h, fill = self.fill.expand_as(self.h), self.h
        return replace(self, h=h, fill=fill, affine_end=self.replaced_end, replaced_end=self.affine_end)


@dataclass(frozen=True)
class MaskSums:
    """Sums over test examples, one number for each mask."""

    score: np.ndarray
    """Σ F."""
    right: np.ndarray | None
    """Number of examples that the model classifies as labelled; None without labels."""
    newly_wrong: np.ndarray | None = None
    """Number of examples that are right with no unit replaced, and wrong under the mask."""
    magnitude: float = 0.0
    """Σ |F| under the first mask."""
    values: np.ndarray | None = None
    """F, or correctness, of each example under each of the first masks, `[masks, rows]`.

    The request's `measure` decides which one.
    """


class MaskRunner:
    """Runs masks over test examples through the tail, many masks in one pass.

    `batch`: rows in one pass, at most.
    `counts`: the numbers of replaced units, ascending.
    """

    def __init__(self, context: JobContext, batch: int, counts: list[int]) -> None:
        assert context.request.ablation is not None
        self.context = context
        self.counts = counts
        self.measure = context.request.ablation.measure
        self.halvings = 0
        """How often memory ran out; each time halves the batch."""
        self._batch = batch

    @cached_property
    def nested(self) -> Nested | None:
        """The shared work of masks of one order.

        Computed on first use, because its columns cost passes.
        """
        return Nested.of(self.context, self.counts)

    @property
    def batch(self) -> int:
        """Rows in one pass, at most."""
        return max(1, (self.nested.rows if self.nested else self._batch) >> self.halvings)

    def run(
        self, tests: ClusterTest, positions: np.ndarray, masks: list[tuple[int, int]], *, bounds: list[int], single: int = 0
    ) -> MaskSums:
        """Return the sums of these masks.

        `positions`: the position of each unit in each order, `[orders, units]`.
        `masks`: pairs of an order's number and a count.
        `bounds`: indices of `masks`; no pass contains masks from both sides of a bound.
        `single`: the number of masks, from the first one, whose values of single examples are kept.

        Raises EngineError `non_finite`.
        """
        on_device = torch.from_numpy(positions).to(self.context.device)
        score, right, wrong, magnitude, labelled = *np.zeros((3, len(masks))), 0.0, True
        values = np.zeros((single, len(tests.h)))
        for first, stop, f, correct in self._passes(tests, on_device, masks, bounds):
            score[first:stop] = f.double().sum(1).cpu().numpy()
            if first == 0:
                magnitude = float(f[0].double().abs().sum())
            if correct is None or tests.right is None:
                labelled = False
            else:
                right[first:stop] = correct.double().sum(1).cpu().numpy()
                wrong[first:stop] = (tests.right & ~correct).double().sum(1).cpu().numpy()
            if first < single:
                measured = correct if self.measure == "accuracy" and correct is not None else f
                values[first:stop] = measured[: single - first].double().cpu().numpy()
            self.context.meter.advance(STAGE, len(tests.h) * (stop - first))
        return MaskSums(score, right if labelled else None, wrong if labelled else None, magnitude, values)

    def _passes(
        self, tests: ClusterTest, positions: Tensor, masks: list[tuple[int, int]], bounds: list[int]
    ) -> Iterator[tuple[int, int, Tensor, Tensor | None]]:
        """Yield ranges of masks (first, stop) with F and correctness.

        After memory ran out, the ranges are smaller.
        """
        first = 0
        while first < len(masks):
            at_once = max(1, self.batch // len(tests.h)) if self.nested or self.context.split.repeatable else 1
            stop = min(first + at_once, next(bound for bound in [*bounds, len(masks)] if bound > first))
            if self.nested:
                stop = next((index for index in range(first + 1, stop) if not _contains(masks[index], masks[index - 1])), stop)
            try:
                outcomes = self._pass(tests, positions, masks[first:stop])
            except torch.OutOfMemoryError:
                if at_once == 1:
                    raise
                self.halvings += 1
                continue
            yield first, stop, *outcomes
            first = stop

    def _pass(
        self, tests: ClusterTest, positions: Tensor, masks: list[tuple[int, int]]
    ) -> tuple[Float[Tensor, "masks rows"], Tensor | None]:
        """Return F and correctness of each example under each mask.

        Raises EngineError `non_finite`.
        """
        context, times = self.context, len(masks)
        orders, counts = zip(*masks, strict=True)
        with torch.no_grad():
            if self.nested and tests.affine_end and counts[0] not in (0, context.units.count):
                output = self.nested.outputs(tests.affine_end, tests.fill - tests.h, positions[orders[0]], counts)
            else:
                mask = context.units.spread(positions[list(orders)] < torch.tensor(counts, device=context.device)[:, None])
                output = context.split.tail(torch.where(mask[:, None], tests.fill, tests.h).flatten(0, 1), tests.live)
            score = context.score(output, tests.fixed.repeat(times)).reshape(times, -1)
        if not torch.isfinite(score).all():
            raise EngineError(
                "non_finite", "the target became NaN or infinite with units replaced; choose another fill or another score"
            )
        context.cost.forward_rows += len(output)
        right = context.right(output, None if tests.labels is None else tests.labels.repeat(times))
        return score, None if right is None else right.reshape(times, -1)


def _contains(mask: tuple[int, int], before: tuple[int, int]) -> bool:
    """Return True if a mask replaces all units of the mask `before`, and more.

    True needs two masks of the same order, and a `before` that replaces at least one unit.
    """
    return mask[0] == before[0] and mask[1] > before[1] > 0
