"""How far the rankings by single baselines agree, where a job has several baselines.

The first baselines are followed, at most 16: the importance of every unit by each of them alone is
kept as a sum. The spread of a unit is the standard deviation of these importances. The agreement of
a cluster is the mean rank correlation of all pairs of them.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy import stats
from torch import Tensor

from unitrank_engine.attribution.statistics import Sums, add_rows
from unitrank_engine.job.baselines import drawn_count
from unitrank_engine.job.context import JobContext
from unitrank_schemas.methods import MethodBase, Statistic
from unitrank_tables.sizes import MiB

MOST_FOLLOWED = 16
"""Baselines whose importances are kept."""
MOST_BYTES = 64 * MiB
"""Bytes of the sums of one method, at most. Where they need more, no baseline is followed."""
STATISTICS: tuple[Statistic, ...] = ("mean", "mean_abs", "rms")


def followed_count(context: JobContext) -> int:
    """Return the number of baselines that are followed; 0 for a job with one baseline."""
    count = min(MOST_FOLLOWED, drawn_count(context))
    size = len(STATISTICS) * count * len(context.clusters) * context.units.count * 8
    return count if count > 1 and size <= MOST_BYTES and context.truth is None else 0


class BaselineSums:
    """The sums of s and |s|, and of s² where `rms` is ranked, by each followed baseline alone.

    `sums`: powers × baselines × clusters × units, in float64.
    """

    def __init__(self, sums: Float[Tensor, "powers baselines clusters units"]) -> None:
        self.sums = sums
        self._waiting: list[tuple[int, Tensor, Tensor]] = []

    @classmethod
    def of(cls, context: JobContext, entry: MethodBase, *, squares: bool) -> "BaselineSums | None":
        """Return empty sums; None where no baseline is followed, or the method reads none."""
        baselines = followed_count(context)
        if not baselines or not entry.needs_baseline:
            return None
        shape = (3 if squares else 2, baselines, len(context.clusters), context.units.count)
        return cls(torch.zeros(shape, dtype=torch.float64, device=context.device))

    def see(
        self,
        baseline: int,
        scores: Float[Tensor, "rows units"],
        *,
        clusters: Int[np.ndarray, " members"],
        examples: Int[np.ndarray, " members"],
    ) -> None:
        """Sum the scores of a batch by one baseline; `add` adds these sums.

        `clusters`: the cluster of each member. `examples`: the row of `scores` that it has.
        """
        names, places = np.unique(clusters, return_inverse=True)
        s = scores[torch.from_numpy(examples).to(scores.device)].to(torch.float64, copy=True)
        total = torch.zeros(len(self.sums), len(names), s.shape[1], dtype=torch.float64, device=s.device)
        for sums, change in zip(total, (None, s.abs_, s.square_), strict=False):
            if change is not None:
                change()
            add_rows(sums, places, s)
        self._waiting.append((baseline, torch.from_numpy(names).to(s.device), total))

    def add(self) -> None:
        """Add the sums of a batch that is complete."""
        for baseline, clusters, total in self._waiting:
            self.sums[:, baseline, clusters] += total
        self._waiting.clear()

    def forget(self) -> None:
        """Drop the sums of a batch that was not completed."""
        self._waiting.clear()


@dataclass(frozen=True)
class BaselineSpread:
    """How far the importances by single baselines agree, for one statistic."""

    spread: Float[np.ndarray, "clusters units"]
    """Standard deviation of each unit's importance over the baselines."""
    agreement: Float[np.ndarray, "2 clusters"]
    """The mean and the lowest rank correlation of two baselines; NaN where all units are equal."""


def spreads(of_baselines: BaselineSums, sums: Sums) -> dict[Statistic, BaselineSpread]:
    """Return the agreement of each statistic. `sums`: of the mean scores of the same examples."""
    counts = sums.counts.reshape(-1, 2).sum(1)
    results: dict[Statistic, BaselineSpread] = {}
    for statistic, totals in zip(STATISTICS, of_baselines.sums.cpu().numpy(), strict=False):
        importance = totals / np.maximum(counts, 1)[:, None]
        importance = np.sqrt(importance) if statistic == "rms" else importance
        pairs = np.stack([rank_correlations(importance[:, cluster]) for cluster in range(len(counts))], axis=1)
        results[statistic] = BaselineSpread(importance.std(0, ddof=1).astype(np.float32), pairs)
    return results


def rank_correlations(importance: Float[np.ndarray, "baselines units"]) -> Float[np.ndarray, " 2"]:
    """Return the mean and the lowest rank correlation of two rows.

    >>> rank_correlations(np.array([[1.0, 2.0, 3.0], [1.0, 5.0, 9.0], [3.0, 2.0, 1.0]])).round(3)
    array([-0.333, -1.   ])
    """
    ranks = stats.rankdata(importance, axis=1)
    ranks = ranks[np.ptp(ranks, axis=1) > 0]
    if len(ranks) < 2:
        return np.full(2, np.nan)
    pairs = np.corrcoef(ranks)[np.triu_indices(len(ranks), 1)]
    return np.array([pairs.mean(), pairs.min()])
