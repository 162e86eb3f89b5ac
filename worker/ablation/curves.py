"""Ablation curves: the mean target and accuracy after the first k units of an order are replaced."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

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


@dataclass
class Means:
    """Sums over test examples for each mask."""

    score: np.ndarray
    right: np.ndarray | None
    magnitude: float = 0.0
    examples: int = 0

    @classmethod
    def empty(cls, masks: int) -> "Means":
        return cls(np.zeros(masks), np.zeros(masks))


class Curves:
    """Runs masks over test examples through the tail, many masks in one pass."""

    def __init__(self, work: Work, batch: int) -> None:
        self.work = work
        self.batch = batch

    def add(self, means: Means, tests: Tests, positions: np.ndarray, counts: list[int]) -> None:
        """Adds these examples to the sums: first nothing replaced, then each order at each count, then everything.

        `positions` holds one order a row.
        """
        rows = len(tests.h)
        table = torch.from_numpy(positions).to(self.work.device)
        masks = [(0, 0), *((order, count) for order in range(len(positions)) for count in counts), (0, self.work.units.count)]
        together = max(1, self.batch // rows) if self.work.split.repeatable else 1
        for first in range(0, len(masks), together):
            chosen = masks[first : first + together]
            score, right = self._pass(tests, table, chosen)
            means.score[first : first + together] += score.double().sum(1).cpu().numpy()
            if first == 0:
                means.magnitude += float(score[0].double().abs().sum())
            if right is None:
                means.right = None
            elif means.right is not None:
                means.right[first : first + together] += right.double().sum(1).cpu().numpy()
            self.work.meter.advance(STAGE, rows * len(chosen))
        means.examples += rows

    def _pass(
        self, tests: Tests, table: Tensor, chosen: list[tuple[int, int]]
    ) -> tuple[Float[Tensor, "masks rows"], Tensor | None]:
        """F and correctness of each example under each mask."""
        work, times = self.work, len(chosen)
        orders, counts = (torch.tensor(values, device=work.device) for values in zip(*chosen, strict=True))
        mask = work.units.spread(table[orders] < counts[:, None])
        with torch.no_grad():
            h = torch.where(mask[:, None], tests.fill, tests.h).flatten(0, 1)
            output = work.split.tail(h, tests.live)
            score = work.score(output, tests.fixed.repeat(times)).reshape(times, -1)
        if not torch.isfinite(score).all():
            raise EngineError(
                "non_finite", "the target became NaN or infinite with units replaced; choose another fill or another score"
            )
        work.cost.forward_rows += len(output)
        right = work.right(output, None if tests.labels is None else tests.labels.repeat(times))
        return score, None if right is None else right.reshape(times, -1)
