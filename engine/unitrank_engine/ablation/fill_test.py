"""A fill test runs the ablation of all clusters with one fill: the controls, and each ranking."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch

from unitrank_engine.ablation.curves import ClusterTest, Curves, Masks, MaskSums
from unitrank_engine.ablation.orders import Orders
from unitrank_engine.ablation.verdict import area, drop
from unitrank_engine.job.fills import Fills
from unitrank_schemas.base import Fill
from unitrank_schemas.jobs.ablation import Ablation

Importance = Mapping[str, list[np.ndarray]]
"""Ranking's id → each cluster's importance of every unit, from the examples that rank."""


@dataclass(frozen=True)
class TestedCluster:
    """The curves of one cluster with one fill, means over its test examples.

    NaN without test examples.
    """

    examples: int
    """Number of test examples."""
    intact: float
    """Mean F with no unit replaced."""
    all_replaced: float
    """Mean F with all units replaced."""
    magnitude: float
    """Mean |F| with no unit replaced."""
    score: np.ndarray
    """Mean F, `[orders, counts]`."""
    accuracy: np.ndarray | None
    """Accuracy, `[orders, counts]`; None without labels."""
    names: list[str]
    """Name of each order: `random`, `activity`, or `<order>/<ranking>`, such as `most/deeplift`."""

    def curve(self, name: str) -> np.ndarray:
        """Return the order's mean F at each count."""
        return np.asarray(self.score[self.names.index(name)])

    def accuracy_curve(self, name: str) -> np.ndarray | None:
        """Return the order's accuracy at each count; None without labels."""
        return None if self.accuracy is None else self.accuracy[self.names.index(name)]

    @property
    def random(self) -> np.ndarray:
        """Mean F of the random orders, `[random, counts]`."""
        return self.score[[name == "random" for name in self.names]]

    @property
    def random_accuracy(self) -> np.ndarray | None:
        """Accuracy of the random orders, `[random, counts]`; None without labels."""
        return None if self.accuracy is None else self.accuracy[[name == "random" for name in self.names]]

    def has(self, name: str) -> bool:
        """Return True where the order was tested, on at least one example and at one count."""
        return self.examples > 0 and name in self.names and self.score.shape[1] > 0

    def drop(self, name: str) -> float:
        """Return the order's mean drop of F over the counts."""
        return float(drop(self.intact, self.curve(name)))

    def area(self, value: float) -> float | None:
        """Return a drop as a share of the drop with all units replaced.

        None where the drop with all units replaced is too small.
        """
        return area(value, intact=self.intact, all_replaced=self.all_replaced, magnitude=self.magnitude)


@dataclass(frozen=True)
class Controls:
    """The sums of one cluster's controls, batch by batch."""

    batches: list[MaskSums]
    activity: np.ndarray | None
    """The order by activity, as the position of each unit.

    None where this order is not among the controls.
    """


@dataclass(frozen=True)
class ClusterRuns:
    """The sums of all masks of one cluster."""

    controls: Controls
    rankings: Mapping[str, MaskSums]


class FillTest:
    """Tests the rankings on each cluster with one fill.

    `request`: the job's ablation.
    `fill`: the values that replace units.
    `only_most`: test only the order `most` of each ranking, and no order by activity.
    """

    def __init__(
        self, *, request: Ablation, fill: Fill, fills: Fills, curves: Curves, orders: Orders, only_most: bool = False
    ) -> None:
        self.context = fills.context
        self.fill = fill
        self.fills = fills
        self.curves = curves
        self.orders = orders
        self.counts = curves.counts
        self.batch = fills.batch
        self.only_most = only_most
        self.order_names = [order for order in dict.fromkeys(request.orders) if order == "most" or not only_most]
        self.random = [orders.random(number) for number in range(request.random)]

    def masks(self, rankings: int, *, controls: bool = True) -> int:
        """Return how many masks run on each test example for this number of rankings."""
        count = 2 + len(self.counts) * (len(self.random) + (not self.only_most)) if controls else 0
        return count + len(self.counts) * rankings * len(self.order_names)

    def run(self, cluster: int, importance: Importance) -> TestedCluster:
        """Test the controls and every ranking on a cluster. Raises EngineError `non_finite`."""
        return self.tested(cluster, self.runs(cluster, importance))

    def runs(self, cluster: int, importance: Importance, controls: Controls | None = None) -> ClusterRuns:
        """Return the sums of all masks of a cluster.

        `controls`: the sums of this cluster's controls where they have run already.
        """
        positions = {name: self._positions(cluster, values[cluster]) for name, values in importance.items()}
        activity = controls.activity if controls else self._activity_order(cluster)
        orders = np.stack([*self.random, *([] if activity is None else [activity])])
        batches: list[MaskSums] = []
        sums: dict[str, list[MaskSums]] = {name: [] for name in importance}
        for test in self._tests(cluster):
            masks = Masks(self.curves, test, orders, len(self.random))
            batches.append(controls.batches[len(batches)] if controls else masks.controls())
            for name, each in positions.items():
                sums[name].append(masks.ranking(each, batches[-1]))
        columns = len(self.order_names) * len(self.counts)
        return ClusterRuns(Controls(batches, activity), {name: _summed(each, columns) for name, each in sums.items()})

    def tested(self, cluster: int, runs: ClusterRuns) -> TestedCluster:
        """Return the curves of one cluster from the sums of its masks."""
        controls, rankings = runs.controls, runs.rankings
        orders = len(self.random) + (controls.activity is not None)
        columns, examples = len(self.counts), len(self.context.halves[cluster].tested)
        control_sums = _summed(controls.batches, 2 + orders * columns)
        divisor = examples or np.nan
        names = ["random"] * len(self.random) + ["activity"] * (orders - len(self.random))
        names += [f"{order}/{name}" for name in rankings for order in self.order_names]
        score = np.concatenate([control_sums.score[2:], *(sums.score for sums in rankings.values())]) / divisor
        rights = [None if control_sums.right is None else control_sums.right[2:], *(sums.right for sums in rankings.values())]
        labelled = [right for right in rights if right is not None]
        return TestedCluster(
            examples=examples,
            intact=float(control_sums.score[0] / divisor),
            all_replaced=float(control_sums.score[1] / divisor),
            magnitude=control_sums.magnitude / divisor,
            score=score.reshape(len(names), columns),
            accuracy=(np.concatenate(labelled) / divisor).reshape(len(names), columns) if len(labelled) == len(rights) else None,
            names=names,
        )

    def _positions(self, cluster: int, importance: np.ndarray) -> np.ndarray:
        """Return the ranking's orders: in each row an order, as the position of each unit."""
        label = self.context.clusters[cluster].name
        positions = [getattr(self.orders, order)(importance, label) for order in self.order_names]
        return np.stack(positions) if positions else np.zeros((0, self.context.units.count), np.int32)

    def _activity_order(self, cluster: int) -> np.ndarray | None:
        return None if self.only_most else self.orders.most(self._activity(cluster), self.context.clusters[cluster].name)

    def _tests(self, cluster: int) -> Iterator[ClusterTest]:
        """Yield the cluster's test examples in batches."""
        context, nested = self.context, self.curves.nested
        rows = context.clusters[cluster].rows[context.halves[cluster].tested]
        for start in range(0, len(rows), self.batch):
            chosen = rows[start : start + self.batch]
            x = context.examples.inputs(chosen)
            h, live = context.split.head(x)
            with torch.no_grad():
                fixed = context.fix(context.split.tail(h, live), chosen)
            context.cost.forward_rows += len(chosen)
            affine_end = nested.at(x) if nested else None
            fill = self.fills.of(self.fill, chosen, cluster, x)
            yield ClusterTest(h, live, fixed, context.examples.labels(chosen), fill, affine_end)

    def _activity(self, cluster: int) -> np.ndarray:
        """Return each unit's activity: the mean of |h − fill| over the examples that rank."""
        context, halves = self.context, self.context.halves[cluster]
        rows = context.clusters[cluster].rows
        rows = rows if halves.in_sample else rows[halves.sides == 0]
        total = torch.zeros(context.units.count, dtype=torch.float64, device=context.device)
        for start in range(0, len(rows), self.batch):
            chosen = rows[start : start + self.batch]
            x = context.examples.inputs(chosen)
            difference = (context.split.head(x)[0] - self.fills.of(self.fill, chosen, cluster, x)).abs()
            total += context.units.reduce(difference).double().sum(0)
            context.cost.forward_rows += len(chosen)
        return np.asarray((total / len(rows)).cpu().numpy())


def _summed(batches: list[MaskSums], masks: int) -> MaskSums:
    """Return the sums over all batches; zeros without batches."""
    score, right, magnitude = np.zeros(masks), np.zeros(masks), 0.0
    for sums in batches:
        score += sums.score
        magnitude += sums.magnitude
        if sums.right is not None:
            right += sums.right
    return MaskSums(score, None if any(sums.right is None for sums in batches) else right, magnitude)


def fill_tests(request: Ablation, fills: Fills) -> list[FillTest]:
    """Return the test with `fill` and, if the request needs it, the test with `check_fill`."""
    context = fills.context
    counts = list(request.counts_of(context.units.count))
    curves, orders = Curves(context, fills.batch, counts), Orders(context.units.count, context.streams)
    tests = [FillTest(request=request, fill=request.fill, fills=fills, curves=curves, orders=orders)]
    has_verdict = "most" in request.orders and request.random > 0 and bool(counts)
    if has_verdict and request.check_fill not in (None, request.fill) and len(context.all_rows()) > 1:
        assert request.check_fill is not None
        check = FillTest(request=request, fill=request.check_fill, fills=fills, curves=curves, orders=orders, only_most=True)
        tests.append(check)
    return tests
