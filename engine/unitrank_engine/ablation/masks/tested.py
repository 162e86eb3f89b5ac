"""The outcome of a fill test on one cluster: means over its test examples, by order."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from unitrank_engine.ablation.masks.mask_runner import MaskSums
from unitrank_engine.ablation.masks.runs import ClusterRuns, RankingRuns, summed
from unitrank_engine.ablation.statistics.verdict import area, drop
from unitrank_schemas.jobs.ablation import Measure
from unitrank_schemas.jobs.study_plan import StudyPlan


@dataclass(frozen=True)
class Curves:
    """The curves of some orders, means over the test examples."""

    score: np.ndarray
    """Mean F, `[orders, counts]`."""
    accuracy: np.ndarray | None
    """Accuracy, `[orders, counts]`; None without labels."""

    def measured(self, measure: Measure) -> np.ndarray:
        """Return the curves that the test compares: mean F, or accuracy."""
        if measure == "score":
            return self.score
        assert self.accuracy is not None
        return self.accuracy

    def of(self, rows: slice) -> "Curves":
        """Return the curves of these orders."""
        return Curves(self.score[rows], None if self.accuracy is None else self.accuracy[rows])


@dataclass(frozen=True)
class TestedRanking:
    """The curves of one ranking on one cluster."""

    orders: Mapping[str, Curves]
    """Order (`most` or `least`) → its curve, `[1, counts]`."""
    others: Curves
    """For each cluster of the job, this cluster too, the curve of its order `most`.

    Empty without specificity.
    """
    relabelled: Curves
    """The relabelled controls; empty where the shared random orders serve."""
    keep: Curves | None
    """The curve of the order `keep`, `[1, counts]`; None where it is not requested."""
    ordered: bool
    """Whether some scores differ; equal scores give no order."""
    drops: Mapping[str, np.ndarray]
    """Order → the mean drop of each test example, `[examples]`."""
    losses: np.ndarray | None
    """The mean loss of each test example when the first units are kept, `[examples]`."""
    newly_wrong: np.ndarray | None
    """Number of examples that were right and are wrong at each count of `least`, `[counts]`.

    None without labels and without the order `least`.
    """
    others_drops: np.ndarray
    """The mean drop of each test example under each order of `others`, `[clusters, examples]`."""


@dataclass(frozen=True)
class TestedCluster:
    """The curves of one cluster with one fill.

    All means are NaN without test examples.
    """

    measure: Measure
    examples: int
    """Number of test examples."""
    ends: Curves
    """With no unit replaced and with all units replaced, `[1, 2]`."""
    magnitude: float
    """Mean |F| with no unit replaced; for the measure `accuracy`, the accuracy."""
    changes: np.ndarray
    """The drop of each test example with all units replaced, `[examples]`."""
    random: Curves
    """The random orders, which clusters and rankings share."""
    random_drops: np.ndarray
    """The mean drop of each test example over the random orders, `[examples]`."""
    random_keep: Curves | None
    """The random orders where their first units are kept."""
    activity: Curves | None
    """The order by activity, `[1, counts]`."""
    rankings: Mapping[str, TestedRanking]

    @property
    def intact(self) -> float:
        """S₀."""
        return float(self.ends.measured(self.measure)[0, 0])

    @property
    def total(self) -> float:
        """S₀ − S_n, the drop with all units replaced."""
        return self.intact - float(self.ends.measured(self.measure)[0, 1])

    def drops(self, curves: Curves) -> np.ndarray:
        """Return each order's mean drop over the counts, `[orders]`."""
        values = curves.measured(self.measure)
        if self.measure == "accuracy":
            # Numbers of examples are added without rounding, so that equal drops tie.
            return drop(np.rint(self.intact * self.examples), np.rint(values * self.examples)) / self.examples
        return drop(self.intact, values)

    def drop(self, curves: Curves) -> float:
        """Return the mean drop of the only order."""
        return float(self.drops(curves)[0])

    @property
    def area_total(self) -> float | None:
        """S₀ − S_n where it is large enough to divide by; else None."""
        return self.total if self.has_area else None

    def control_drops(self, ranking: TestedRanking) -> np.ndarray:
        """Return the drops of a ranking's controls: relabelled or shared random orders."""
        return self.drops(ranking.relabelled if len(ranking.relabelled.score) else self.random)

    @property
    def has_area(self) -> bool:
        """Whether the drop with all units replaced is large enough to divide by."""
        return self.area(0.0) is not None

    def area(self, value: float) -> float | None:
        """Return a drop as a share of the drop with all units replaced.

        None where the drop with all units replaced is too small.
        """
        return area(value, total=self.total, magnitude=self.magnitude)


def tested_cluster(
    plan: StudyPlan, runs: ClusterRuns, *, examples: int, measure: Measure, ordered: Mapping[str, bool]
) -> TestedCluster:
    """Return the curves of one cluster from the sums of its masks.

    `examples`: the number of test examples.
    `ordered`: ranking's id → whether some of its scores differ in this cluster.
    """
    counts, divide = plan.counts, _Means(plan.counts, examples)
    sums = summed(runs.controls.batches, 2 + plan.shared * counts, 3)
    ends = divide.of(sums, 0, 1, counts=2)
    values = sums.values
    assert values is not None
    kept = summed(runs.controls.keep, 2 + plan.random * counts)
    return TestedCluster(
        measure=measure,
        examples=examples,
        ends=ends,
        magnitude=sums.magnitude / divide.divisor if measure == "score" else float(ends.measured(measure)[0, 0]),
        changes=values[0] - values[1],
        random=divide.of(sums, 2, plan.random),
        random_drops=values[0] - values[2],
        random_keep=divide.of(kept, 2, plan.random) if plan.keep else None,
        activity=divide.of(sums, 2 + plan.random * counts, 1) if plan.activity and counts else None,
        rankings={name: _ranking(plan, divide, each, values[0], ordered[name]) for name, each in runs.rankings.items()},
    )


@dataclass(frozen=True)
class _Means:
    """Divides sums by the number of examples."""

    counts: int
    examples: int

    @property
    def divisor(self) -> float:
        return self.examples or np.nan

    def of(self, sums: MaskSums, first: int, orders: int, counts: int | None = None) -> Curves:
        """Return the curves of these orders.

        `first`: the number of the first order's first mask.
        """
        columns = self.counts if counts is None else counts
        here = slice(first, first + orders * columns)
        score, accuracy = (
            None if each is None else (each[here] / self.divisor).reshape(orders, columns) for each in (sums.score, sums.right)
        )
        assert score is not None
        return Curves(score, accuracy)


def _ranking(plan: StudyPlan, divide: _Means, runs: RankingRuns, intact: np.ndarray, ordered: bool) -> TestedRanking:
    """`intact`: the value of each test example with no unit replaced."""
    masks, names, counts = runs.masks, plan.orders, divide.counts
    values = np.zeros((plan.own, len(intact))) if masks.values is None else masks.values
    drops = intact - values
    keep_values = None if runs.keep is None else runs.keep.values
    return TestedRanking(
        orders={name: divide.of(masks, number * counts, 1) for number, name in enumerate(names)},
        others=divide.of(masks, len(names) * counts, plan.clusters),
        relabelled=divide.of(masks, plan.own * counts, plan.relabelled),
        keep=divide.of(runs.keep, 0, 1) if runs.keep else None,
        ordered=ordered,
        drops=dict(zip(names, drops, strict=False)),
        losses=None if keep_values is None else intact - keep_values[0],
        newly_wrong=_newly_wrong(plan, masks),
        others_drops=drops[len(names) :],
    )


def _newly_wrong(plan: StudyPlan, masks: MaskSums) -> np.ndarray | None:
    if masks.newly_wrong is None or "least" not in plan.orders:
        return None
    first = plan.orders.index("least") * plan.counts
    return masks.newly_wrong[first : first + plan.counts].astype(np.int64)
