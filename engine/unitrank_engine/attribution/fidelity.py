"""Fidelity measures how well scores predict the change of the target F when units are replaced.

For every example, a fraction of the units is replaced together, once. The predicted drop is the sum
of their scores; the actual drop is F(h) − F(h with these units replaced). Over all examples, in
units of F:

- `mae`: the mean of |predicted − actual|; 0 is perfect
- `mae_of_zero`: the mean of |actual|, which is the `mae` of always predicting "no change". Scores
  with a larger `mae` predict worse than "no change".
- `bias`: the mean of predicted − actual; positive where scores predict too large drops
- `spearman`: the rank correlation of predicted and actual drops over examples; 1 is the same order
- `wilcoxon`, `mann_whitney`: p-values of the hypothesis that the best other ranking has equal
  errors, paired and unpaired
- `mean_difference`: this ranking's mean absolute error minus the other's, with its 95 % interval

Of more than 10⁶ examples, a keyed hash of the row number draws about 10⁶. `spearman` and the last
three are those of the drawn examples; the means are those of all examples.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy import stats
from torch import Tensor

from unitrank_engine.attribution.batch_passes import PassObserver
from unitrank_engine.attribution.ranking_errors import advise_without
from unitrank_engine.attribution.scores import Drops
from unitrank_engine.attribution.statistics import spearman
from unitrank_engine.errors import EngineError
from unitrank_engine.job.clusters.hashed_order import HashedOrder
from unitrank_engine.job.clusters.range_members import MemberBatch, RangeMembers
from unitrank_engine.job.context import JobContext
from unitrank_engine.job.fills import Fills
from unitrank_engine.methods import PathEnds
from unitrank_schemas.jobs.ablation import Fidelity
from unitrank_schemas.results import Difference, FidelityResult

LEVEL = 0.95
"""Confidence level of the interval of `mean_difference`."""
MOST_DROPS = 10**6
"""Examples of a job whose drops are all kept. Of more, about this number is drawn."""


def sampled_share(context: JobContext) -> float | None:
    """Return the share of the examples whose drops are kept; None where all are kept."""
    examples = len(context.all_rows())
    return MOST_DROPS / examples if examples > MOST_DROPS else None


class FidelityObserver(PassObserver):
    """Collects predicted and actual drops of the target while the main pass runs.

    `request`: the fraction of units that is replaced, how they are selected, and their fill.
    """

    def __init__(self, fills: Fills, request: Fidelity) -> None:
        self.context = fills.context
        self.request = request
        self.fills = fills
        self.fill = request.fill
        self.drops = {}
        self._of_range: dict[str, Drops] = {}
        self.replaced = max(1, int(request.fraction * self.context.units.count + 1e-9))
        ties = self.context.streams.generator("fidelity", "ties").permutation(self.context.units.count)
        self._ties = torch.from_numpy(ties).to(self.context.device)

    def begin(self, members: RangeMembers) -> None:
        self._members, self._of_range = members, {}

    def range_drops(self) -> Mapping[str, Drops]:
        """Return the drops of the range; for a job with very many examples those of a sample."""
        share = sampled_share(self.context)
        if share is None:
            return self._of_range
        order = HashedOrder(self.context.streams.generator("fidelity", "sample"))
        counted = self._members.first_passes
        chosen = counted[order.below(self._members.rows[counted], share)]
        return {key: drops.sampled(counted, chosen) for key, drops in self._of_range.items()}

    def see_batch(self, batch: MemberBatch, ends: PathEnds, scores: dict[str, Tensor]) -> None:
        with advise_without("fidelity", [entry.id or entry.name for entry in self.context.request.methods]):
            fill = self._fill(batch, ends)
            shared: tuple[Tensor, np.ndarray] | None = None
            for key, values in scores.items():
                if shared is None or self.request.select == "top":
                    chosen = self._chosen(batch.rows, ends, values)
                    shared = chosen, self._drop(ends, fill, chosen)
                chosen, drop = shared
                size = len(self._members.rows)
                drops = self._of_range.setdefault(key, Drops(np.zeros(size), np.zeros(size)))
                drops.predicted[batch.start : batch.stop] = values.double().gather(1, chosen).sum(1).cpu().numpy()
                drops.actual[batch.start : batch.stop] = drop

    def _fill(self, batch: MemberBatch, ends: PathEnds) -> Tensor:
        if self.request.fill == "baseline":
            return ends.start.h
        return self.fills.of(self.request.fill, batch.rows, batch.cluster, ends.x)

    def _chosen(self, rows: np.ndarray, ends: PathEnds, values: Tensor) -> Tensor:
        """Return the units that are replaced, one row for each example."""
        if self.request.select == "random":
            draws = [self.context.streams.generator("fidelity", int(row)).permutation(values.shape[1]) for row in rows]
            return torch.from_numpy(np.stack(draws)[:, : self.replaced]).to(values.device)
        if self.request.select == "delta":
            values = self.context.units.reduce((ends.input.h - ends.start.h).abs())
        return largest(values, self.replaced, self._ties)

    def _drop(self, ends: PathEnds, fill: Tensor, chosen: Tensor) -> np.ndarray:
        """Return the actual drop of F of each example. Raises EngineError `non_finite`."""
        mask = torch.zeros(len(chosen), self.context.units.count, dtype=torch.bool, device=chosen.device)
        mask.scatter_(1, chosen, True)
        with torch.no_grad():
            h = torch.where(self.context.units.spread(mask), fill, ends.input.h)
            f = self.context.score(self.context.split.tail(h, ends.live), ends.fixed)
        if not torch.isfinite(f).all():
            raise EngineError(
                "non_finite", "the target became NaN or infinite with units replaced; choose another fill or another score"
            )
        self.context.cost.forward_rows += len(chosen)
        return np.asarray((ends.f.double() - f.double()).cpu().numpy())


def largest(values: Float[Tensor, "rows units"], count: int, ties: Int[Tensor, " units"]) -> Int[Tensor, "rows {count}"]:
    """Return the `count` units with the largest values of each row.

    Of units with equal values, those that come first in `ties` are taken. (`topk` alone takes
    different units on different devices.)

    >>> largest(torch.tensor([[1.0, 3.0, 3.0]]), 1, ties=torch.tensor([2, 1, 0]))
    tensor([[2]])
    """
    top = values.topk(min(count + 1, values.shape[1]), 1)
    chosen = top.indices[:, :count]
    if count < values.shape[1]:
        last = top.values[:, count - 1]
        tied = last == top.values[:, count]
        if tied.any():
            chosen[tied] = _first_of_equals(values[tied], last[tied], count, ties)
    return chosen


def _first_of_equals(
    values: Float[Tensor, "rows units"], last: Float[Tensor, " rows"], count: int, ties: Int[Tensor, " units"]
) -> Int[Tensor, "rows {count}"]:
    """Return all units above the last value that is taken, then equal ones, up to `count`."""
    ordered = values[:, ties]
    above, equal = ordered > last[:, None], ordered == last[:, None]
    room = count - above.sum(1, keepdim=True)
    return ties[(above | (equal & (equal.cumsum(1) <= room))).nonzero()[:, 1]].reshape(len(values), count)


def judge(drops: dict[str, Drops], compare: bool) -> dict[str, FidelityResult]:
    """Return each ranking's fidelity by its id.

    `compare`: whether a ranking's errors are tested against those of the best other ranking, the
        one with the smallest mean absolute error. It needs the same replaced units for all
        rankings.

    >>> drops = {"a": Drops(predicted=np.array([1.0, 3.0]), actual=np.array([2.0, 2.5]))}
    >>> judge(drops, compare=False)["a"].mae
    0.75
    """
    results = {}
    means = {name: of_ranking.means for name, of_ranking in drops.items()}
    for name, of_ranking in drops.items():
        rival = min((rival for rival in drops if rival != name), key=lambda rival: means[rival].absolute_error, default=None)
        results[name] = FidelityResult(
            mae=means[name].absolute_error,
            mae_of_zero=means[name].absolute_drop,
            bias=means[name].error,
            spearman=spearman(of_ranking.predicted, of_ranking.actual),
            **(_compare(of_ranking.absolute_errors, rival, drops[rival].absolute_errors) if compare and rival else {}),
        )
    return results


def _compare(errors: np.ndarray, rival: str, rival_errors: np.ndarray) -> dict[str, Any]:
    """Test two samples of absolute errors on the same examples, paired and unpaired."""
    difference = errors - rival_errors
    # Wilcoxon's test leaves out zero differences. They are left out here, because scipy takes 0.8 s
    # to enumerate signs where there are few differences and one of them is zero.
    signed = difference[difference != 0]
    return {
        "against": rival,
        "mann_whitney": float(stats.mannwhitneyu(errors, rival_errors).pvalue),
        "wilcoxon": float(stats.wilcoxon(signed).pvalue) if len(signed) else 1.0,
        "mean_difference": _interval(difference),
    }


def _interval(values: np.ndarray) -> Difference:
    """Return the mean with its t-interval at LEVEL.

    The interval of a single value, or of equal values, has width zero.
    """
    mean = float(values.mean())
    if len(values) < 2 or np.ptp(values) == 0:
        return Difference(value=mean, low=mean, high=mean)
    half = float(stats.t.ppf((1 + LEVEL) / 2, len(values) - 1) * stats.sem(values))
    return Difference(value=mean, low=mean - half, high=mean + half)
