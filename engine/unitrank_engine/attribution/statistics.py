"""What a cluster's scores sum to: importance, spread and cancellation, in one pass and in float64."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy import stats
from torch import Tensor

from unitrank_schemas.methods import Statistic

ROUNDING = 16 * np.finfo(np.float64).eps
SIDES = 2
"""Halves of a cluster: the side that ranks and the side that tests."""
PIECE = 2**17
"""Scores that are added up at once: in float64 they stay in the caches, and an eighth of the time is enough."""


class Sums:
    """Sums of s, |s|, s² and, for the spread of `rms`, s⁴ over the examples of each half of each cluster.

    Shards of the same job add up exactly, because nothing but sums is kept.
    """

    def __init__(self, *, clusters: int, units: int, device: torch.device, fourth: bool = True) -> None:
        self.sums = torch.zeros(4 if fourth else 3, SIDES * clusters, units, dtype=torch.float64, device=device)
        """A slot for each half: those of the first cluster, then those of the second."""
        self.counts = np.zeros(SIDES * clusters, dtype=np.int64)

    def add(
        self,
        *,
        clusters: Int[np.ndarray, " members"],
        sides: Int[np.ndarray, " members"],
        examples: Int[np.ndarray, " members"],
        scores: Float[Tensor, "rows units"],
    ) -> None:
        """Adds to each member's half the scores of its example, a row of them; examples may be in many clusters."""
        slots = SIDES * clusters + sides
        order = np.argsort(slots, kind="stable")
        filled, sizes = np.unique(slots, return_counts=True)
        rows = torch.split(torch.from_numpy(examples[order]).to(scores.device), sizes.tolist())
        together = max(1, PIECE // scores.shape[1])
        # by slot and not by index_add_, whose threads cost a small job more than the sums themselves, and whose order of
        # adding is nobody's on a GPU
        for slot, members in zip(filled.tolist(), rows, strict=True):
            for piece in torch.split(members, together):
                s = scores[piece].to(torch.float64, copy=True)
                self.sums[0, slot] += s.sum(0)
                self.sums[1, slot] += s.abs().sum(0)
                squares = s.square_()
                self.sums[2, slot] += squares.sum(0)
                if len(self.sums) == 4:
                    self.sums[3, slot] += squares.square_().sum(0)
        self.counts[filled] += sizes

    def of_cluster(self, cluster: int, side: int | None = None) -> "Moments":
        """The examples of a cluster: of both its halves together, or of one side."""
        chosen = [SIDES * cluster + each for each in (range(SIDES) if side is None else (side,))]
        return Moments(int(self.counts[chosen].sum()), *self.sums[:, chosen].sum(1).cpu().numpy())


@dataclass(frozen=True)
class Moments:
    """Sums over m examples for each unit."""

    m: int
    s: np.ndarray
    absolute: np.ndarray
    squares: np.ndarray
    fourth: np.ndarray | None = None

    def importance(self, statistic: Statistic) -> np.ndarray:
        """What the statistic makes of the scores, one number a unit."""
        if statistic == "rms":
            return np.asarray(np.sqrt(self.squares / self.m))
        return np.asarray((self.s if statistic == "mean" else self.absolute) / self.m)

    def spread(self, statistic: Statistic) -> np.ndarray:
        """The standard deviation (m − 1) of what the statistic averages; NaN for one example."""
        if self.m < 2:
            return np.full_like(self.s, np.nan)
        if statistic == "rms":
            assert self.fourth is not None
            rms = np.sqrt(self.squares / self.m)
            deviation = self._deviation(self.squares, self.fourth)
            return np.asarray(np.divide(deviation, 2 * rms, out=np.zeros_like(rms), where=rms > 0))
        return self._deviation(self.s if statistic == "mean" else self.absolute, self.squares)

    def _deviation(self, total: np.ndarray, squares: np.ndarray) -> np.ndarray:
        left = squares - total**2 / self.m
        # the difference of two sums: what is below their rounding is none
        return np.asarray(np.sqrt(np.where(left > ROUNDING * squares, left, 0.0) / (self.m - 1)))

    def cancellation(self) -> float | None:
        """1 − Σ|mean| / Σ mean|·| of the signed scores; None for one example or where all scores are zero."""
        total = float(self.absolute.sum())
        if self.m < 2 or total == 0.0:
            return None
        return max(0.0, 1.0 - float(np.abs(self.s).sum()) / total)

    def looks_like_noise(self) -> bool:
        """Whether Σ|mean| is no more than one and a half times what independent noise of the same size leaves."""
        left = np.abs(self.s / self.m).sum()
        noise = np.sqrt(self.squares / self.m).sum() * np.sqrt(2 / (np.pi * self.m))
        return bool(left <= 1.5 * noise)


def spearman(a: np.ndarray, b: np.ndarray) -> float | None:
    """The rank correlation; None for under two values or where one side is constant."""
    if len(a) < 2 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return None
    ranks = [stats.rankdata(values) for values in (a, b)]
    return float(np.corrcoef(ranks)[0, 1])
