"""Ablation curves: mean F and accuracy after the first k units of an order are replaced.

A curve has one value for each count k, over the test examples of a cluster. The curve falls fast if
F depends on the first units of the order. A mask is a pair of an order and a count k.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from unitrank_engine.ablation.nested import AffineEnd, Nested
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
    fill: Float[Tensor, "one_or_rows *place"]
    """The values that replace units."""
    affine_end: AffineEnd | None
    """The values at the end of the affine part; None where masks of one order share no work."""


@dataclass(frozen=True)
class MaskSums:
    """Sums over test examples, one number for each mask."""

    score: np.ndarray
    """Σ F."""
    right: np.ndarray | None
    """Number of examples that the model classifies as labelled; None without labels."""
    magnitude: float = 0.0
    """Σ |F| under the first mask."""


class Curves:
    """Runs masks over test examples through the tail, many masks in one pass.

    `batch`: rows in one pass, at most.
    `counts`: the numbers of replaced units, ascending.
    """

    def __init__(self, context: JobContext, batch: int, counts: list[int]) -> None:
        self.context = context
        self.counts = counts
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

    def run(self, tests: ClusterTest, positions: np.ndarray, masks: list[tuple[int, int]], bounds: list[int]) -> MaskSums:
        """Return the sums of these masks.

        `positions`: the position of each unit in each order, `[orders, units]`.
        `masks`: pairs of an order's number and a count.
        `bounds`: indices of `masks`; no pass contains masks from both sides of a bound.

        Raises EngineError `non_finite`.
        """
        on_device = torch.from_numpy(positions).to(self.context.device)
        score, right, magnitude, labelled = np.zeros(len(masks)), np.zeros(len(masks)), 0.0, True
        for first, stop, f, correct in self._passes(tests, on_device, masks, bounds):
            score[first:stop] = f.double().sum(1).cpu().numpy()
            if first == 0:
                magnitude = float(f[0].double().abs().sum())
            if correct is None:
                labelled = False
            else:
                right[first:stop] = correct.double().sum(1).cpu().numpy()
            self.context.meter.advance(STAGE, len(tests.h) * (stop - first))
        return MaskSums(score, right if labelled else None, magnitude)

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


class Masks:
    """The masks of the controls and of the rankings over one batch of test examples.

    `controls`: in each row an order, as the position of each unit; the random orders come first.
    `random`: the number of random orders.

    Masks that replace the same values run once and share the result. Two runs would round
    differently, so that equal orders would no longer tie. The controls' passes contain no ranking,
    and a ranking's passes contain no other ranking: no sum depends on the job's other rankings.
    """

    def __init__(self, curves: Curves, tests: ClusterTest, controls: np.ndarray, random: int) -> None:
        self.curves = curves
        self.tests = tests
        self._controls = controls
        self._random = random
        self._counts = curves.counts
        self._limits = np.array(self._counts, dtype=np.int32)[:, None]
        changeable = curves.context.units.reduce((tests.h != tests.fill).float()).any(0).cpu().numpy()
        self._changeable = changeable
        """Whether a unit differs from its fill in some example."""
        ends = [np.packbits(np.zeros_like(changeable)).tobytes(), np.packbits(changeable).tobytes()]
        self._control_indices: dict[bytes, int] = {}
        """Key of a mask → index of the first mask of the controls with that key."""
        self._keys = [*ends, *self._keys_of(controls)]
        for index, key in enumerate(self._keys):
            self._control_indices.setdefault(key, index)

    def controls(self) -> MaskSums:
        """Return the sums of: no unit replaced, all replaced, then each control at each count."""
        masks = [(0, 0), (0, self.curves.context.units.count), *self._pairs(len(self._controls))]
        run_masks = sorted(self._control_indices.values())
        run_number = {index: number for number, index in enumerate(run_masks)}
        run_of_mask = [run_number[self._control_indices[key]] for key in self._keys]
        random_runs = sum(index < 2 + self._random * len(self._counts) for index in run_masks)
        sums = self.curves.run(self.tests, self._controls, [masks[index] for index in run_masks], [random_runs])
        self._skip(len(masks) - len(run_masks))
        return MaskSums(sums.score[run_of_mask], None if sums.right is None else sums.right[run_of_mask], sums.magnitude)

    def ranking(self, positions: np.ndarray, controls: MaskSums) -> MaskSums:
        """Return the sums of each of a ranking's orders at each count.

        `positions`: in each row an order, as the position of each unit.
        `controls`: the sums of the controls on this batch.
        """
        pairs, run_number = self._pairs(len(positions)), dict[bytes, int]()
        run_masks: list[int] = []
        keys = self._keys_of(positions)
        for index, key in enumerate(keys):
            if key not in self._control_indices and run_number.setdefault(key, len(run_number)) == len(run_masks):
                run_masks.append(index)
        sums = self.curves.run(self.tests, positions, [pairs[index] for index in run_masks], [])
        self._skip(len(pairs) - len(run_masks))
        sources = [
            (controls, self._control_indices[key]) if key in self._control_indices else (sums, run_number[key]) for key in keys
        ]
        score = np.array([source.score[index] for source, index in sources])
        if controls.right is None:
            return MaskSums(score, None)
        return MaskSums(score, np.array([source.right[index] for source, index in sources if source.right is not None]))

    def _keys_of(self, positions: np.ndarray) -> list[bytes]:
        """Return a key for each order and count: the bits of the units whose values change."""
        rows = [np.packbits((order < self._limits) & self._changeable, axis=1) for order in positions]
        return [key.tobytes() for of_order in rows for key in of_order]

    def _pairs(self, orders: int) -> list[tuple[int, int]]:
        return [(order, count) for order in range(orders) for count in self._counts]

    def _skip(self, masks: int) -> None:
        """Advance the progress by masks that share another mask's run."""
        if masks:
            self.curves.context.meter.advance(STAGE, len(self.tests.h) * masks)


def _contains(mask: tuple[int, int], before: tuple[int, int]) -> bool:
    """Return True if a mask replaces all units of the mask `before`, and more.

    True needs two masks of the same order, and a `before` that replaces at least one unit.
    """
    return mask[0] == before[0] and mask[1] > before[1] > 0
