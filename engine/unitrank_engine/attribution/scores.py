"""The main pass's output: sums of each method's scores, and drops for the fidelity."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from unitrank_engine.attribution.baselines.agreement import BaselineSpread, BaselineSums
from unitrank_engine.attribution.examples.extremes import Extremes
from unitrank_engine.attribution.examples.sampling_errors import SamplingErrors
from unitrank_engine.attribution.examples.sums import ExampleSums, GapSums, TotalSums
from unitrank_engine.attribution.statistics import Sums
from unitrank_engine.job.clusters.membership import Membership
from unitrank_engine.methods.batch import Notes
from unitrank_schemas.methods import MethodBase, Statistic


@dataclass(frozen=True)
class Drops:
    """Predicted and actual drops of F for one ranking and each example, in units of F.

    >>> drops = Drops(predicted=np.array([1.0, 3.0]), actual=np.array([2.0, 2.5]))
    >>> drops.absolute_errors
    array([1. , 0.5])
    >>> drops.means
    DropMeans(absolute_error=0.75, absolute_drop=2.25, error=-0.25)
    """

    predicted: np.ndarray
    """The sum of the replaced units' scores."""
    actual: np.ndarray
    """F(h) − F(h with these units replaced)."""
    sums: Float[np.ndarray, " 4"] | None = None
    """Where the drops are those of a sample: the number of all examples, and their sums of
    |predicted − actual|, |actual| and predicted − actual. Else None."""

    @property
    def absolute_errors(self) -> np.ndarray:
        """|predicted − actual| of each example."""
        return np.asarray(np.abs(self.predicted - self.actual))

    @property
    def means(self) -> "DropMeans":
        """The means over all examples, also where the drops are those of a sample."""
        if self.sums is not None:
            return DropMeans(*(self.sums[1:] / self.sums[0]).tolist())
        values = self.absolute_errors, np.abs(self.actual), self.predicted - self.actual
        return DropMeans(*(float(each.mean()) for each in values))

    def sampled(self, examples: np.ndarray, chosen: np.ndarray) -> "Drops":
        """Return the drops of the chosen examples, with the sums of these examples."""
        predicted, actual = self.predicted[examples], self.actual[examples]
        error = predicted - actual
        sums = np.array([len(error), np.abs(error).sum(), np.abs(actual).sum(), error.sum()])
        return Drops(self.predicted[chosen], self.actual[chosen], sums)


class DropMeans(NamedTuple):
    """Means over the examples of one ranking, in units of F."""

    absolute_error: float
    absolute_drop: float
    error: float


@dataclass
class MethodScores:
    """One method's scores, as sums over the examples of each cluster."""

    entry: MethodBase
    sums: Sums
    """For each unit, and each half of each cluster."""
    totals: TotalSums | None = None
    """None for a ranking whose importance came with the job."""
    kept: dict[int, list[Tensor]] = field(default_factory=lambda: defaultdict(list))
    """Cluster → scores of its first examples, at most `keep_examples` of the request."""
    notes: Notes = field(default_factory=Notes)
    path_gaps: GapSums | None = None
    """None for methods without a path."""
    errors: SamplingErrors | None = None
    """None for methods whose scores are not sampled."""
    projections: Mapping[Statistic, np.ndarray] = field(default_factory=dict)
    """Statistic → projections of the values that it averages, `[examples, 16]`.

    Empty for jobs without given scores.
    """
    in_top: Mapping[Statistic, Float[np.ndarray, "clusters top"]] = field(default_factory=dict)
    """Statistic → share of the bootstrap draws in which each of the first units stays first.

    NaN for a cluster without a bootstrap.
    """
    extremes: Extremes | None = None
    """The examples with extreme scores of each unit, where the job follows them."""
    of_baselines: BaselineSums | None = None
    """The sums by single baselines, where the job has several; None at the end of the pass."""
    over_baselines: Mapping[Statistic, BaselineSpread] = field(default_factory=dict)
    """How far single baselines agree. Empty where the job has one, or the method reads none."""
    seconds: float = 0.0
    """Time that the method took, with its share of the common passes."""

    def standard_errors(self, statistic: Statistic) -> Float[np.ndarray, "clusters units"] | None:
        """Return the standard error of each importance; None where scores are not sampled."""
        return None if self.errors is None else self.errors.standard_error(self.sums, statistic)

    @classmethod
    def brought(cls, entry: MethodBase, importance: Float[np.ndarray, "clusters units"]) -> "MethodScores":
        """Return the scores of a ranking whose importance came with the job.

        Each cluster has a single pseudo-example on the side that ranks, so that its mean is the
        importance, and spread, cancellation and stability are not defined.
        """
        clusters, units = importance.shape
        sums, numbers = Sums(clusters=clusters, units=units, device=torch.device("cpu"), fourth=False), np.arange(clusters)
        sums.add(clusters=numbers, sides=np.zeros_like(numbers), examples=numbers, scores=torch.from_numpy(importance))
        return cls(entry, sums)


@dataclass(frozen=True)
class Attribution:
    """The result of the main pass."""

    membership: Membership
    by_key: dict[str, MethodScores]
    """The scores of each method by their `score_key`."""
    examples: ExampleSums

    def importances(self, entries: Sequence[MethodBase], cluster: int) -> np.ndarray:
        """Return importances from all examples of a cluster, `[rankings, units]`."""
        return np.stack([self.by_key[score_key(each)].sums.of_cluster(cluster).importance(each.statistic) for each in entries])


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
    if "id" not in excluded:
        entry = entry.model_copy(update={"id": entry.entry_id})
    return entry.model_dump_json(exclude=excluded)
