"""Ablation curves: the mean target and accuracy after the first k units of an order are replaced."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from unitrank_engine.ablation.nested import Behind, Nested
from unitrank_engine.errors import EngineError
from unitrank_engine.job.context import JobContext
from unitrank_engine.job.targets import Fixed
from unitrank_engine.program.split import Live

STAGE = "ablation"


@dataclass(frozen=True)
class ClusterTest:
    """Some test examples of one cluster, at their unaltered values."""

    h: Float[Tensor, "rows *place"]
    live: Live
    fixed: Fixed
    labels: Int[Tensor, " rows"] | None
    fill: Float[Tensor, "one_or_rows *place"]
    behind: Behind | None
    """Where masks of one order share their work."""


@dataclass(frozen=True)
class MaskSums:
    """What masks gave: sums over the test examples of a batch, a number a mask."""

    score: np.ndarray
    right: np.ndarray | None
    magnitude: float = 0.0
    """Σ|F| of the first mask."""


class Curves:
    """Runs masks over test examples through the tail, many masks in one pass."""

    def __init__(self, context: JobContext, batch: int, counts: list[int]) -> None:
        self.context = context
        self.counts = counts
        self.halvings = 0
        """How often memory ran out."""
        self._batch = batch

    @cached_property
    def nested(self) -> Nested | None:
        """Made when it is first needed: a column for each unit costs a pass."""
        return Nested.of(self.context, self.counts)

    @property
    def batch(self) -> int:
        """Rows of one pass."""
        return max(1, (self.nested.rows if self.nested else self._batch) >> self.halvings)

    def run(self, tests: ClusterTest, positions: np.ndarray, masks: list[tuple[int, int]], bounds: list[int]) -> MaskSums:
        """What these pairs of an order and a count give; no pass goes across one of the bounds."""
        table = torch.from_numpy(positions).to(self.context.device)
        score, right, magnitude, labelled = np.zeros(len(masks)), np.zeros(len(masks)), 0.0, True
        for first, stop, f, correct in self._passes(tests, table, masks, bounds):
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
        self, tests: ClusterTest, table: Tensor, masks: list[tuple[int, int]], bounds: list[int]
    ) -> Iterator[tuple[int, int, Tensor, Tensor | None]]:
        """Ranges of masks and what comes of them, fewer together where memory ran out."""
        first = 0
        while first < len(masks):
            together = max(1, self.batch // len(tests.h)) if self.nested or self.context.split.repeatable else 1
            stop = min(first + together, next(bound for bound in [*bounds, len(masks)] if bound > first))
            if self.nested:
                stop = next((index for index in range(first + 1, stop) if not _contains(masks[index], masks[index - 1])), stop)
            try:
                outcomes = self._pass(tests, table, masks[first:stop])
            except torch.OutOfMemoryError:
                if together == 1:
                    raise
                self.halvings += 1
                continue
            yield first, stop, *outcomes
            first = stop

    def _pass(
        self, tests: ClusterTest, table: Tensor, chosen: list[tuple[int, int]]
    ) -> tuple[Float[Tensor, "masks rows"], Tensor | None]:
        """F and correctness of each example under each mask."""
        context, times = self.context, len(chosen)
        orders, counts = zip(*chosen, strict=True)
        with torch.no_grad():
            if self.nested and tests.behind and counts[0] not in (0, context.units.count):
                output = self.nested.outputs(tests.behind, tests.fill - tests.h, table[orders[0]], counts)
            else:
                mask = context.units.spread(table[list(orders)] < torch.tensor(counts, device=context.device)[:, None])
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
    """The masks of all orders over one batch of test examples.

    What changes the same values as a control runs once, because rounding that differs from place to place in a pass would break
    ties. A ranking's passes hold nothing else: what it gives does not hang on the other rankings, nor do the controls on any.
    """

    def __init__(self, curves: Curves, tests: ClusterTest, controls: np.ndarray, random: int) -> None:
        """`controls` holds one order a row as the positions of the units: the random ones first, so many of them."""
        self.curves = curves
        self.tests = tests
        self._controls = controls
        self._random = random
        self._counts = curves.counts
        self._limits = np.array(self._counts, dtype=np.int32)[:, None]
        moved = curves.context.units.reduce((tests.h != tests.fill).float()).any(0).cpu().numpy()
        self._moved = moved
        bare = [np.packbits(np.zeros_like(moved)).tobytes(), np.packbits(moved).tobytes()]
        self._known: dict[bytes, int] = {}
        self._keys = [*bare, *self._keys_of(controls)]
        for index, key in enumerate(self._keys):
            self._known.setdefault(key, index)

    def controls(self) -> MaskSums:
        """Nothing replaced, everything replaced, then each control at each count."""
        masks = [(0, 0), (0, self.curves.context.units.count), *self._pairs(len(self._controls))]
        first = sorted(self._known.values())
        place = {index: number for number, index in enumerate(first)}
        which = [place[self._known[key]] for key in self._keys]
        shared = sum(index < 2 + self._random * len(self._counts) for index in first)
        ran = self.curves.run(self.tests, self._controls, [masks[index] for index in first], [shared])
        self._skip(len(masks) - len(first))
        return MaskSums(ran.score[which], None if ran.right is None else ran.right[which], ran.magnitude)

    def ranking(self, positions: np.ndarray, controls: MaskSums) -> MaskSums:
        """Each of the ranking's orders at each count; `controls` is what the controls gave on this batch."""
        pairs, numbers = self._pairs(len(positions)), dict[bytes, int]()
        first: list[int] = []
        keys = self._keys_of(positions)
        for index, key in enumerate(keys):
            if key not in self._known and numbers.setdefault(key, len(numbers)) == len(first):
                first.append(index)
        ran = self.curves.run(self.tests, positions, [pairs[index] for index in first], [])
        self._skip(len(pairs) - len(first))
        taken = [(controls, self._known[key]) if key in self._known else (ran, numbers[key]) for key in keys]
        score = np.array([source.score[index] for source, index in taken])
        if controls.right is None:
            return MaskSums(score, None)
        return MaskSums(score, np.array([source.right[index] for source, index in taken if source.right is not None]))

    def _keys_of(self, positions: np.ndarray) -> list[bytes]:
        """Of each order at each count the values that it changes."""
        rows = [np.packbits((order < self._limits) & self._moved, axis=1) for order in positions]
        return [key.tobytes() for of_order in rows for key in of_order]

    def _pairs(self, orders: int) -> list[tuple[int, int]]:
        return [(order, count) for order in range(orders) for count in self._counts]

    def _skip(self, masks: int) -> None:
        """What need not run is done."""
        if masks:
            self.curves.context.meter.advance(STAGE, len(self.tests.h) * masks)


def _contains(mask: tuple[int, int], before: tuple[int, int]) -> bool:
    """Whether an order and its count replace what another pair does, and more; those of nothing and of everything stand alone."""
    return mask[0] == before[0] and mask[1] > before[1] > 0
