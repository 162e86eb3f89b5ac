"""Ablation curves: mean F and accuracy after the first k units of an order are replaced.

A curve has one value for each count k, over the test examples of a cluster. The curve falls fast if
F depends on the first units of the order. A mask is a pair of an order and a count k.
"""

from collections.abc import Iterator, Sequence
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
class ScoredTarget:
    """A target whose value follows from a pass, with the class and the rival of each example."""

    context: JobContext
    fixed: Fixed

    def score(self, output: Float[Tensor, "rows *rest"], masks: int) -> Float[Tensor, "masks examples"]:
        """Return F of each example under each mask.

        Raises EngineError `non_finite`.
        """
        score = self.context.score(output, self.fixed.repeat(masks)).reshape(masks, -1)
        if not torch.isfinite(score).all():
            number = self.context.target_class
            target = "the target" if number is None else f"the target of class {number}"
            raise EngineError(
                "non_finite", f"{target} became NaN or infinite with units replaced; choose another fill or another score"
            )
        return score


@dataclass(frozen=True)
class ClusterTest:
    """A batch of test examples of one cluster, before any unit is replaced."""

    h: Float[Tensor, "rows *place"]
    live: Live
    targets: Sequence[ScoredTarget]
    """One for each class whose score each pass gives; the labels and their prediction are equal."""
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

    The request's `measure` decides which one. The last row of the controls' values is the mean over
    the random orders and counts.
    """

    def of_first(self, masks: int) -> "MaskSums":
        """Return the sums of the first masks."""
        first = (None if each is None else each[:masks] for each in (self.right, self.newly_wrong, self.values))
        right, newly_wrong, values = first
        return MaskSums(self.score[:masks], right, newly_wrong, self.magnitude, values)


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
        self.halved = False
        """Whether memory ran out in a pass, so that its sums round differently."""
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
        self,
        tests: ClusterTest,
        positions: np.ndarray,
        masks: list[tuple[int, int]],
        *,
        bounds: list[int],
        single: int = 0,
        weights: Float[np.ndarray, " masks"] | None = None,
    ) -> list[MaskSums]:
        """Return the sums of these masks for each target of the tests.

        `positions`: the position of each unit in each order, `[orders, units]`.
        `masks`: pairs of an order's number and a count.
        `bounds`: indices of `masks`; no pass contains masks from both sides of a bound.
        `single`: the number of masks, from the first one, whose values of single examples are kept.
        `weights`: weights of the masks in a weighted sum of these values, which is their last row.

        Raises EngineError `non_finite`.
        """
        on_device = torch.from_numpy(positions).to(self.context.device)
        targets = [_TargetSums(len(masks), single, len(tests.h), weights) for _ in tests.targets]
        right, wrong, labelled = *np.zeros((2, len(masks))), True
        for first, stop, scores, correct in self._passes(tests, on_device, masks, bounds):
            if correct is None or tests.right is None:
                labelled = False
            else:
                right[first:stop] = correct.double().sum(1).cpu().numpy()
                wrong[first:stop] = (tests.right & ~correct).double().sum(1).cpu().numpy()
            for sums, f in zip(targets, scores, strict=True):
                sums.add(first, f, correct if self.measure == "accuracy" and correct is not None else f)
            self.context.meter.advance(STAGE, len(tests.h) * (stop - first))
        return [
            MaskSums(sums.score, right if labelled else None, wrong if labelled else None, sums.magnitude, sums.values)
            for sums in targets
        ]

    def _passes(
        self, tests: ClusterTest, positions: Tensor, masks: list[tuple[int, int]], bounds: list[int]
    ) -> Iterator[tuple[int, int, list[Tensor], Tensor | None]]:
        """Yield ranges of masks (first, stop) with F of each target, and correctness.

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
                self.context.cost.halvings += 1
                continue
            yield first, stop, *outcomes
            first = stop

    def _pass(
        self, tests: ClusterTest, positions: Tensor, masks: list[tuple[int, int]]
    ) -> tuple[list[Float[Tensor, "masks rows"]], Tensor | None]:
        """Return F of each target, and correctness, of each example under each mask.

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
            scores = [target.score(output, times) for target in tests.targets]
        context.cost.forward_rows += len(output)
        right = context.right(output, None if tests.labels is None else tests.labels.repeat(times))
        return scores, None if right is None else right.reshape(times, -1)


class _TargetSums:
    """Adds up F of one target over the test examples, for each mask."""

    def __init__(self, masks: int, single: int, examples: int, weights: Float[np.ndarray, " masks"] | None) -> None:
        self.score = np.zeros(masks)
        self.magnitude = 0.0
        self._single = single
        self._weights = weights
        self.values = np.zeros((single if weights is None else single + 1, examples))

    def add(self, first: int, f: Tensor, measured: Tensor) -> None:
        """Add a pass, `[masks, examples]`.

        `first`: the number of the pass's first mask.
        `measured`: the values of single examples.
        """
        self.score[first : first + len(f)] = f.double().sum(1).cpu().numpy()
        if first == 0:
            self.magnitude = float(f[0].double().abs().sum())
        if first < self._single:
            single = measured[: self._single - first]
            self.values[first : first + len(single)] = single.double().cpu().numpy()
        if self._weights is not None:
            weights = torch.from_numpy(self._weights[first : first + len(f)]).to(f.device)
            self.values[-1] += (weights @ measured.double()).cpu().numpy()


def _contains(mask: tuple[int, int], before: tuple[int, int]) -> bool:
    """Return True if a mask replaces all units of the mask `before`, and more.

    True needs two masks of the same order, and a `before` that replaces at least one unit.
    """
    return mask[0] == before[0] and mask[1] > before[1] > 0
