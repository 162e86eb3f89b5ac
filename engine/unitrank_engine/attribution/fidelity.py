"""Fidelity: for every example some units are replaced once; how close was the sum of their scores to the change of F?"""

from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy import stats
from torch import Tensor

from unitrank_engine.attribution.main_pass import PassObserver
from unitrank_engine.attribution.ranking_errors import judging
from unitrank_engine.attribution.scores import Errors
from unitrank_engine.attribution.statistics import spearman
from unitrank_engine.errors import EngineError
from unitrank_engine.job.clusters.membership import MemberBatch
from unitrank_engine.job.fills import Fills
from unitrank_engine.methods import PathEnds
from unitrank_schemas.jobs.ablation import Fidelity
from unitrank_schemas.results import Difference, FidelityResult

LEVEL = 0.95


class FidelityObserver(PassObserver):
    """Collects predicted and actual drops of the target while the main pass runs."""

    def __init__(self, fills: Fills, request: Fidelity, examples: int) -> None:
        self.context = fills.context
        self.request = request
        self.fills = fills
        self.examples = examples
        self.replaced = max(1, int(request.fraction * self.context.units.count + 1e-9))
        self.errors: dict[str, Errors] = {}
        """Key of the scores → the errors of their predictions."""
        ties = self.context.streams.generator("fidelity", "ties").permutation(self.context.units.count)
        self._ties = torch.from_numpy(ties).to(self.context.device)

    def see_batch(self, batch: MemberBatch, ends: PathEnds, scores: dict[str, Tensor]) -> None:
        with judging("fidelity", [entry.id or entry.name for entry in self.context.request.methods]):
            fill = self._fill(batch, ends)
            shared: tuple[Tensor, np.ndarray] | None = None
            for key, values in scores.items():
                if shared is None or self.request.select == "top":
                    chosen = self._chosen(batch.rows, ends, values)
                    shared = chosen, self._drop(ends, fill, chosen)
                chosen, drop = shared
                errors = self.errors.setdefault(key, Errors(np.zeros(self.examples), np.zeros(self.examples)))
                errors.predicted[batch.start : batch.stop] = values.double().gather(1, chosen).sum(1).cpu().numpy()
                errors.actual[batch.start : batch.stop] = drop

    def _fill(self, batch: MemberBatch, ends: PathEnds) -> Tensor:
        if self.request.fill == "baseline":
            return ends.start.h
        return self.fills.of(self.request.fill, batch.rows, batch.cluster, ends.x)

    def _chosen(self, rows: np.ndarray, ends: PathEnds, values: Tensor) -> Tensor:
        """The units that are replaced, one row an example."""
        if self.request.select == "random":
            draws = [self.context.streams.generator("fidelity", int(row)).permutation(values.shape[1]) for row in rows]
            return torch.from_numpy(np.stack(draws)[:, : self.replaced]).to(values.device)
        if self.request.select == "delta":
            values = self.context.units.reduce((ends.input.h - ends.start.h).abs())
        return largest(values, self.replaced, self._ties)

    def _drop(self, ends: PathEnds, fill: Tensor, chosen: Tensor) -> np.ndarray:
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
    """The units with the largest values of each row; of equal ones those that come first in `ties`.

    `topk` alone takes whichever of them its algorithm meets, another one on every device.
    """
    found = values.topk(min(count + 1, values.shape[1]), 1)
    chosen = found.indices[:, :count]
    if count < values.shape[1]:
        last = found.values[:, count - 1]
        tied = last == found.values[:, count]
        if tied.any():
            chosen[tied] = _first_of_equals(values[tied], last[tied], count, ties)
    return chosen


def _first_of_equals(
    values: Float[Tensor, "rows units"], last: Float[Tensor, " rows"], count: int, ties: Int[Tensor, " units"]
) -> Int[Tensor, "rows {count}"]:
    """All units above the last value that is taken, and as many of those equal to it as are left."""
    ordered = values[:, ties]
    above, equal = ordered > last[:, None], ordered == last[:, None]
    room = count - above.sum(1, keepdim=True)
    return ties[(above | (equal & (equal.cumsum(1) <= room))).nonzero()[:, 1]].reshape(len(values), count)


def judge(errors: dict[str, Errors], compare: bool) -> dict[str, FidelityResult]:
    """Each ranking's errors, and where `compare`, how they differ from those of the best other ranking."""
    results = {}
    mae = {name: float(own.absolute.mean()) for name, own in errors.items()}
    for name, own in errors.items():
        rival = min((other for other in errors if other != name), key=lambda other: mae[other], default=None)
        results[name] = FidelityResult(
            mae=mae[name],
            mae_of_zero=float(np.abs(own.actual).mean()),
            bias=float((own.predicted - own.actual).mean()),
            spearman=spearman(own.predicted, own.actual),
            **(_against(own.absolute, rival, errors[rival].absolute) if compare and rival else {}),
        )
    return results


def _against(own: np.ndarray, name: str, other: np.ndarray) -> dict[str, Any]:
    """Paired and unpaired tests of two error samples of the same examples."""
    difference = own - other
    # Wilcoxon's way with zeros, by hand: scipy would count signs for 0.8 s where a few differences hold one
    signed = difference[difference != 0]
    return {
        "against": name,
        "mann_whitney": float(stats.mannwhitneyu(own, other).pvalue),
        "wilcoxon": float(stats.wilcoxon(signed).pvalue) if len(signed) else 1.0,
        "mean_difference": _interval(difference),
    }


def _interval(values: np.ndarray) -> Difference:
    """The mean with its t-interval; without width for a single value."""
    mean = float(values.mean())
    if len(values) < 2 or np.ptp(values) == 0:
        return Difference(value=mean, low=mean, high=mean)
    half = float(stats.t.ppf((1 + LEVEL) / 2, len(values) - 1) * stats.sem(values))
    return Difference(value=mean, low=mean - half, high=mean + half)
