"""Statistics of a cluster's scores: importance, spread and cancellation, from float64 sums.

For a unit with scores s over the m examples of a cluster:

- importance: mean(s), mean(|s|) or sqrt(mean(s²)), as the entry's `statistic` asks
- spread: the standard deviation, over examples, of the averaged s or |s|; for `rms` by the delta
  method
- cancellation, over all units: 1 − Σ|mean(s)| / Σ mean(|s|). 0: no unit's scores change sign
  between examples. Near 1: positive and negative scores cancel almost completely.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy import stats
from torch import Tensor

from unitrank_schemas.methods import Statistic

ROUNDING = 16 * np.finfo(np.float64).eps
"""Below this share of a sum of squares, a difference of two sums is rounding."""
SIDES = 2
"""Halves of a cluster: side 0 ranks and side 1 tests."""
SCORES_AT_ONCE = 2**17
"""Scores that are added in one step.

In float64 they fit into a processor's caches, which is 8 times faster.
"""

SCORES_AT_ONCE_ON_GPU = 2**24


class Sums:
    """Sums of s, |s|, s² and s⁴ over the examples of each half of each cluster.

    `clusters`, `units`: how many there are.
    `fourth`: whether s⁴ is summed; the spread of the statistic `rms` needs it.
    `groups`: the number of groups of examples whose sums are kept too, for the bootstrap.

    Sums of two parts of a job can be added, because nothing but sums is stored.

    >>> sums = Sums(clusters=1, units=2, device=torch.device("cpu"))
    >>> sums.add(
    ...     clusters=np.array([0, 0]), sides=np.array([0, 1]), examples=np.array([0, 1]),
    ...     scores=torch.tensor([[1.0, -2.0], [3.0, 2.0]]),
    ... )
    >>> sums.of_cluster(0).importance("mean")
    array([2., 0.])
    """

    def __init__(
        self,
        *,
        clusters: int,
        units: int,
        device: torch.device,
        fourth: bool = True,
        groups: int = 0,
    ) -> None:
        self.sums = torch.zeros(4 if fourth else 3, SIDES * clusters, units, dtype=torch.float64, device=device)
        """Powers × halves × units.

        The first cluster's two halves come first, then the second cluster's.
        """
        self.counts = np.zeros(SIDES * clusters, dtype=np.int64)
        # The bootstrap compares units by these sums, for which float32 is enough.
        self.of_groups = torch.zeros(3 if fourth else 2, groups, units, device=device)
        """Sums of s, |s| and, with `fourth`, s² over each group: powers × groups × units."""

    def add(
        self,
        *,
        clusters: Int[np.ndarray, " members"],
        sides: Int[np.ndarray, " members"],
        examples: Int[np.ndarray, " members"],
        scores: Float[Tensor, "rows units"],
        groups: Int[np.ndarray, " members"] | None = None,
    ) -> None:
        """Add each member's scores to the sums of its half and of its group.

        An example can be a member of several clusters.

        `clusters`, `sides`: the cluster and the half of each member.
        `examples`: the row of `scores` that each member has.
        `groups`: the group of each member, where sums of groups are kept.
        """
        halves = SIDES * clusters + sides
        # A GPU has no such caches, and each step costs it the start of a few kernels.
        step = max(1, (SCORES_AT_ONCE_ON_GPU if scores.is_cuda else SCORES_AT_ONCE) // scores.shape[1])
        for start in range(0, len(examples), step):
            piece = slice(start, start + step)
            s = scores[torch.from_numpy(examples[piece]).to(scores.device)].to(torch.float64, copy=True)
            for power, change in enumerate((None, s.abs_, s.square_, s.square_)[: len(self.sums)]):
                if change is not None:
                    change()
                add_rows(self.sums[power], halves[piece], s)
                if groups is not None and power < len(self.of_groups):
                    add_rows(self.of_groups[power], groups[piece], s.float())
        self.counts += np.bincount(halves, minlength=len(self.counts))

    @classmethod
    def of(cls, sums: np.ndarray, counts: np.ndarray, of_groups: np.ndarray | None = None, *, device: torch.device) -> "Sums":
        """Return sums with the values of these arrays, which `arrays` gave."""
        moments = cls(clusters=0, units=sums.shape[2], device=device, fourth=len(sums) == 4)
        moments.sums, moments.counts = torch.from_numpy(sums).to(device), counts
        if of_groups is not None:
            moments.of_groups = torch.from_numpy(of_groups).to(device)
        return moments

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the sums by the names of the arguments of `of`. On a CPU they share memory."""
        return {"sums": self.sums.cpu().numpy(), "counts": self.counts, "of_groups": self.of_groups.cpu().numpy()}

    def drop_groups(self) -> None:
        """Free the memory of the groups' sums."""
        self.of_groups = self.of_groups[:, :0].clone()

    def of_cluster(self, cluster: int, side: int | None = None) -> "Moments":
        """Return the sums of a cluster: of one side, or of both where `side` is None."""
        chosen = [SIDES * cluster + each for each in (range(SIDES) if side is None else (side,))]
        return Moments(int(self.counts[chosen].sum()), *self.sums[:, chosen].sum(1).cpu().numpy())


def add_rows(sums: Float[Tensor, "slots units"], slots: Int[np.ndarray, " rows"], values: Float[Tensor, "rows units"]) -> None:
    """Add each row of values to one row of sums, in the same order on every run."""
    if sums.is_cuda:
        # index_add_ adds in a different order on every run there; this operator sorts the rows.
        sums.index_put_((torch.from_numpy(slots).to(sums.device),), values, accumulate=True)
    else:
        # With 64-bit slots the operator starts threads, which cost a small job more than the sums.
        sums.index_add_(0, torch.from_numpy(slots.astype(np.int32)), values)


@dataclass(frozen=True)
class Moments:
    """Sums over m examples, one number for each unit, and the statistics that follow from them.

    >>> scores = np.array([[1.0, -2.0], [3.0, 2.0]])  # two examples, two units
    >>> moments = Moments(2, scores.sum(0), abs(scores).sum(0), (scores**2).sum(0))
    >>> moments.importance("mean_abs")
    array([2., 2.])
    >>> moments.cancellation()  # the second unit's scores cancel, which is half of all
    0.5
    """

    m: int
    """Number of examples."""
    s: np.ndarray
    """Σ s."""
    absolute: np.ndarray
    """Σ |s|."""
    squares: np.ndarray
    """Σ s²."""
    fourth: np.ndarray | None = None
    """Σ s⁴; None where no ranking uses the statistic `rms`."""

    def importance(self, statistic: Statistic) -> np.ndarray:
        """Return mean(s), mean(|s|) or sqrt(mean(s²)) of each unit."""
        if statistic == "rms":
            return np.asarray(np.sqrt(self.squares / self.m))
        return np.asarray((self.s if statistic == "mean" else self.absolute) / self.m)

    def spread(self, statistic: Statistic) -> np.ndarray:
        """Return the standard deviation over examples of each unit's s or |s| (divisor m − 1).

        For `rms`: the deviation of s², divided by 2 · rms, which is the first-order spread of the
        root (delta method). NaN for one example.
        """
        if self.m < 2:
            return np.full_like(self.s, np.nan)
        if statistic == "rms":
            assert self.fourth is not None
            rms = np.sqrt(self.squares / self.m)
            deviation = self._deviation(self.squares, self.fourth)
            return np.asarray(np.divide(deviation, 2 * rms, out=np.zeros_like(rms), where=rms > 0))
        return self._deviation(self.s if statistic == "mean" else self.absolute, self.squares)

    def _deviation(self, total: np.ndarray, squares: np.ndarray) -> np.ndarray:
        difference = squares - total**2 / self.m
        # A difference of two sums that is below their rounding counts as zero.
        return np.asarray(np.sqrt(np.where(difference > ROUNDING * squares, difference, 0.0) / (self.m - 1)))

    def cancellation(self) -> float | None:
        """Return the share of the scores that cancels in the mean: 1 − Σ|mean(s)| / Σ mean(|s|).

        At 0, no unit's scores change sign between examples. At 0.6, the mean loses 60 % of the
        scores' size. None for one example, and where all scores are zero.
        """
        total = float(self.absolute.sum())
        if self.m < 2 or total == 0.0:
            return None
        return max(0.0, 1.0 - float(np.abs(self.s).sum()) / total)

    def looks_like_noise(self) -> bool:
        """Return True if the means are no larger than the means of noise with the scores' size.

        Independent noise of root mean square r has E|mean| = r · sqrt(2 / (π m)). The limit for
        Σ|mean| is 1.5 times the sum of this expectation over units.
        """
        means = np.abs(self.s / self.m).sum()
        means_of_noise = np.sqrt(self.squares / self.m).sum() * np.sqrt(2 / (np.pi * self.m))
        return bool(means <= 1.5 * means_of_noise)


def spearman(a: np.ndarray, b: np.ndarray) -> float | None:
    """Return the rank correlation, from −1 to 1 (same order).

    None for fewer than two values, and where one side is constant.

    >>> spearman(np.array([1.0, 2.0, 3.0]), np.array([1.0, 8.0, 27.0]))
    1.0
    """
    if len(a) < 2 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return None
    return float(np.corrcoef(stats.rankdata(np.stack([a, b]), axis=1))[0, 1])
