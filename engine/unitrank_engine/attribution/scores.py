"""The main pass's output: the sums of each method's scores, and values of single examples."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from unitrank_engine.attribution.statistics import Sums
from unitrank_engine.job.clusters.membership import Membership
from unitrank_engine.methods.batch import Notes, PathEnds, PathGap
from unitrank_schemas.methods import MethodBase, Statistic


@dataclass(frozen=True)
class Drops:
    """Predicted and actual drops of F for one ranking and each example, in units of F.

    >>> drops = Drops(predicted=np.array([1.0, 3.0]), actual=np.array([2.0, 2.5]))
    >>> drops.absolute_errors
    array([1. , 0.5])
    """

    predicted: np.ndarray
    """The sum of the replaced units' scores."""
    actual: np.ndarray
    """F(h) − F(h with these units replaced)."""

    @property
    def absolute_errors(self) -> np.ndarray:
        """|predicted − actual| of each example."""
        return np.asarray(np.abs(self.predicted - self.actual))


MAX_GAP = 0.05
"""A larger relative gap shows that the points of a path do not resolve where F changes."""
MIN_CHANGE = 1e-6
"""A smaller change of F, as a share of Σ (|F(x)| + |F(x′)|), is rounding: no gap is given."""


@dataclass
class PathGaps:
    """A path method's gaps and the changes of F to compare them with, one for each example."""

    gap: np.ndarray
    change: np.ndarray
    hidden: np.ndarray
    """Gaps that the sum over units does not show (`PathGap.hidden`); NaN where not measured."""
    f: np.ndarray
    """F(x)."""
    f_baseline: np.ndarray
    """F(x′)."""

    @classmethod
    def empty(cls, n: int) -> "PathGaps":
        return cls(np.zeros(n), np.zeros(n), np.full(n, np.nan), np.zeros(n), np.zeros(n))

    def take(self, here: slice, gaps: PathGap, ends: PathEnds) -> None:
        """Set the values of these examples."""
        self.gap[here], self.change[here] = gaps.gap.cpu().numpy(), gaps.change.cpu().numpy()
        self.f[here], self.f_baseline[here] = ends.f.double().cpu().numpy(), ends.f_baseline.double().cpu().numpy()
        if gaps.hidden is not None:
            self.hidden[here] = gaps.hidden.cpu().numpy()

    def relative(self, members: np.ndarray) -> tuple[float, float]:
        """Return Σ gap / Σ change over these examples, for the gap and the hidden gap.

        It is 0 where the change is rounding.
        """
        f, f_baseline, hidden = self.f[members], self.f_baseline[members], self.hidden[members]
        measured, whole = np.isfinite(hidden), np.abs(f) + np.abs(f_baseline)
        return (
            _relative(self.gap[members], self.change[members], whole),
            _relative(hidden[measured], np.abs(f - f_baseline)[measured], whole[measured]),
        )


@dataclass
class MethodScores:
    """One method's scores: sums for each half of each cluster, and values of single examples."""

    entry: MethodBase
    sums: Sums
    totals: np.ndarray
    """The sum of each example's scores."""
    kept: dict[int, list[Tensor]] = field(default_factory=lambda: defaultdict(list))
    """Cluster → scores of its first examples, at most `keep_examples` of the request."""
    notes: Notes = field(default_factory=Notes)
    path_gaps: PathGaps | None = None
    """None for methods without a path."""
    projections: Mapping[Statistic, np.ndarray] = field(default_factory=dict)
    """Statistic → projections of the values that it averages, `[examples, 16]`.

    Empty for jobs without given scores.
    """
    in_top: Mapping[Statistic, Float[np.ndarray, "clusters top"]] = field(default_factory=dict)
    """Statistic → share of the bootstrap draws in which each of the first units stays first.

    NaN for a cluster without a bootstrap.
    """
    seconds: float = 0.0
    """Time that the method took, with its share of the common passes."""

    @classmethod
    def brought(cls, entry: MethodBase, importance: Float[np.ndarray, "clusters units"]) -> "MethodScores":
        """Return the scores of a ranking whose importance came with the job.

        Each cluster has a single pseudo-example on the side that ranks, so that its mean is the
        importance, and spread, cancellation and stability are not defined.
        """
        clusters, units = importance.shape
        sums, numbers = Sums(clusters=clusters, units=units, device=torch.device("cpu"), fourth=False), np.arange(clusters)
        sums.add(clusters=numbers, sides=np.zeros_like(numbers), examples=numbers, scores=torch.from_numpy(importance))
        return cls(entry, sums, np.zeros(0))


@dataclass
class PerExample:
    """Values of each example that do not depend on the method, one row for each example.

    The rows are in the order of `Membership.rows`.
    """

    f: np.ndarray
    """F(x)."""
    f_baseline: np.ndarray
    """F(x′)."""
    classes: np.ndarray
    """The class that is explained."""
    right: np.ndarray | None
    """Whether the model predicts the label; None without labels or with one class."""
    flat: np.ndarray
    """Whether the gradient at the input is exactly zero.

    All False if no method takes that gradient.
    """
    at_baseline: np.ndarray
    """Whether the example equals its baseline."""
    probabilities: np.ndarray
    """Whether the model's output resembles probabilities."""

    @classmethod
    def empty(cls, n: int) -> "PerExample":
        return cls(np.zeros(n), np.zeros(n), np.zeros(n, np.int64), *(np.zeros(n, bool) for _ in range(4)))


@dataclass(frozen=True)
class Attribution:
    """The result of the main pass."""

    membership: Membership
    by_key: dict[str, MethodScores]
    """The scores of each method by their `score_key`."""
    examples: PerExample

    def importances(self, entries: Sequence[MethodBase], cluster: int) -> np.ndarray:
        """Return importances from all examples of a cluster, `[rankings, units]`."""
        return np.stack([self.by_key[score_key(each)].sums.of_cluster(cluster).importance(each.statistic) for each in entries])


def _relative(gap: np.ndarray, change: np.ndarray, whole: np.ndarray) -> float:
    size = float(change.sum())
    return float(gap.sum()) / size if size and size >= MIN_CHANGE * float(whole.sum()) else 0.0


def score_key(entry: MethodBase) -> str:
    """Return a key that is equal for entries with equal scores.

    The statistic and the id do not change scores, so they are left out, with two exceptions: the id
    seeds the method `random`, and the statistic `rms` selects SmoothGrad's squared form. A ranking
    whose importance came with the job has a key of its own.
    """
    if not entry.scores_examples:
        return f"given {entry.id}"
    excluded = {"statistic"} if entry.seeded_by_id else {"statistic", "id"}
    if getattr(entry, "noise", None) is not None and entry.statistic == "rms":
        excluded = {"id"}
    return entry.model_copy(update={"id": entry.entry_id}).model_dump_json(exclude=excluded)
