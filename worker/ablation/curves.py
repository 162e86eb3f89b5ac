"""Ablation curves: the mean target and accuracy after the first k units of an order are replaced."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from worker.ablation.nested import Behind, Nested
from worker.errors import EngineError
from worker.program.split import Live
from worker.targets import Fixed
from worker.work import Work

STAGE = "ablation"


@dataclass(frozen=True)
class Tests:
    """Some test examples of one cluster, at their unaltered values."""

    h: Float[Tensor, "rows *place"]
    live: Live
    fixed: Fixed
    labels: Int[Tensor, " rows"] | None
    fill: Float[Tensor, "one_or_rows *place"]
    behind: Behind | None
    """Where masks of one order share their work."""


@dataclass
class Means:
    """Sums over test examples: nothing replaced, everything replaced, then each order at each count."""

    score: np.ndarray
    right: np.ndarray | None
    magnitude: float = 0.0
    examples: int = 0

    @classmethod
    def empty(cls, masks: int) -> "Means":
        return cls(np.zeros(masks), np.zeros(masks))


class Curves:
    """Runs masks over test examples through the tail, many masks in one pass."""

    def __init__(self, work: Work, batch: int, nested: Nested | None = None) -> None:
        self.work = work
        self.nested = nested
        self.batch = nested.rows if nested else batch

    def add(self, means: Means, tests: Tests, positions: np.ndarray, counts: list[int], controls: int) -> None:
        """Adds these examples to the sums.

        `positions` holds one order a row, the random ones first: `controls` of them. What changes the same values runs
        once, because rounding that differs from place to place in a pass would break ties.
        """
        rows = len(tests.h)
        table = torch.from_numpy(positions).to(self.work.device)
        masks = [(0, 0), (0, self.work.units.count), *((order, count) for order in range(len(positions)) for count in counts)]
        distinct, which = self._distinct(tests, positions, counts)
        shared = int(which[: 2 + controls * len(counts)].max()) + 1
        score, right = np.zeros(len(distinct)), np.zeros(len(distinct))
        for first, stop, f, correct in self._passes(tests, table, [masks[index] for index in distinct], shared):
            score[first:stop] = f.double().sum(1).cpu().numpy()
            if first == 0:
                means.magnitude += float(f[0].double().abs().sum())
            if correct is None:
                means.right = None
            else:
                right[first:stop] = correct.double().sum(1).cpu().numpy()
            self.work.meter.advance(STAGE, rows * (stop - first))
        self.work.meter.advance(STAGE, rows * (len(masks) - len(distinct)))
        means.score += score[which]
        if means.right is not None:
            means.right += right[which]
        means.examples += rows

    def _distinct(self, tests: Tests, positions: np.ndarray, counts: list[int]) -> tuple[list[int], np.ndarray]:
        """The first of all masks that change the same values of these examples, and for each mask which of them it is."""
        moved = self.work.units.reduce((tests.h != tests.fill).float()).any(0).cpu().numpy()
        limits = np.array(counts, dtype=positions.dtype)[:, None]
        keys = [np.packbits(np.stack([np.zeros_like(moved), moved]), axis=1)]
        keys += [np.packbits((order < limits) & moved, axis=1) for order in positions]
        numbers: dict[bytes, int] = {}
        first: list[int] = []
        which: list[int] = []
        for index, key in enumerate(key.tobytes() for together in keys for key in together):
            which.append(numbers.setdefault(key, len(numbers)))
            if which[-1] == len(first):
                first.append(index)
        return first, np.array(which)

    def _passes(
        self, tests: Tests, table: Tensor, masks: list[tuple[int, int]], shared: int
    ) -> Iterator[tuple[int, int, Tensor, Tensor | None]]:
        """Ranges of masks and what comes of them, fewer together where memory ran out.

        The controls go by themselves, so that other rankings leave them equal to the bit.
        """
        first = 0
        while first < len(masks):
            together = max(1, self.batch // len(tests.h)) if self.nested or self.work.split.repeatable else 1
            stop = min(first + together, shared if first < shared else len(masks))
            if self.nested:
                stop = next((index for index in range(first + 1, stop) if not _contains(masks[index], masks[index - 1])), stop)
            try:
                found = self._pass(tests, table, masks[first:stop])
            except torch.OutOfMemoryError:
                if together == 1:
                    raise
                self.batch //= 2
                continue
            yield first, stop, *found
            first = stop

    def _pass(
        self, tests: Tests, table: Tensor, chosen: list[tuple[int, int]]
    ) -> tuple[Float[Tensor, "masks rows"], Tensor | None]:
        """F and correctness of each example under each mask."""
        work, times = self.work, len(chosen)
        orders, counts = zip(*chosen, strict=True)
        with torch.no_grad():
            if self.nested and tests.behind and counts[0] not in (0, work.units.count):
                output = self.nested.outputs(tests.behind, tests.fill - tests.h, table[orders[0]], counts)
            else:
                mask = work.units.spread(table[list(orders)] < torch.tensor(counts, device=work.device)[:, None])
                output = work.split.tail(torch.where(mask[:, None], tests.fill, tests.h).flatten(0, 1), tests.live)
            score = work.score(output, tests.fixed.repeat(times)).reshape(times, -1)
        if not torch.isfinite(score).all():
            raise EngineError(
                "non_finite", "the target became NaN or infinite with units replaced; choose another fill or another score"
            )
        work.cost.forward_rows += len(output)
        right = work.right(output, None if tests.labels is None else tests.labels.repeat(times))
        return score, None if right is None else right.reshape(times, -1)


def _contains(mask: tuple[int, int], before: tuple[int, int]) -> bool:
    """Whether an order and its count replace what another pair does, and more; those of nothing and of everything stand alone."""
    return mask[0] == before[0] and mask[1] > before[1] > 0
