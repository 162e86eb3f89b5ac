"""A fill test runs the ablation of all clusters with one fill: the controls, and each ranking."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch

from unitrank_engine.ablation.masks.mask_runner import ClusterTest, MaskRunner, MaskSums, ScoredTarget
from unitrank_engine.ablation.masks.masks import Masks
from unitrank_engine.ablation.masks.orders import Orders
from unitrank_engine.ablation.masks.runs import ClusterRuns, Controls, RankingRuns, means_over_counts, summed
from unitrank_engine.ablation.masks.tested import TestedCluster, tested_cluster
from unitrank_engine.job.context import JobContext
from unitrank_engine.job.fills import Fills
from unitrank_schemas.base import Fill
from unitrank_schemas.jobs.ablation import Ablation
from unitrank_schemas.jobs.study_plan import StudyPlan, check_plan, reversal_plan, study_plan

Importance = Mapping[str, list[np.ndarray]]
"""Ranking's id → each cluster's importance of every unit, from the examples that rank."""


class FillTest:
    """Tests the rankings on each cluster with one fill.

    `fill`: the values that replace units.
    """

    def __init__(self, *, plan: StudyPlan, fill: Fill, fills: Fills, runner: MaskRunner, orders: Orders) -> None:
        self.context = fills.context
        self.plan = plan
        self.fill = fill
        self.fills = fills
        self.runner = runner
        self.orders = orders
        self.counts = runner.counts
        self.batch = fills.batch

    @property
    def random(self) -> list[np.ndarray]:
        """The random orders."""
        return [self.orders.random(number) for number in range(self.plan.random)]

    def run(self, cluster: int, importance: Importance) -> TestedCluster:
        """Test the rankings on one cluster. Raises EngineError `non_finite`."""
        return self.tested(cluster, importance, self.runs(cluster, importance))

    def tested(self, cluster: int, importance: Importance, runs: ClusterRuns) -> TestedCluster:
        """Return the curves of one cluster from the sums of its masks."""
        return tested_cluster(
            self.plan,
            runs,
            examples=len(self.context.halves[cluster].tested),
            measure=self.runner.measure,
            ordered={name: bool(np.ptp(values[cluster])) for name, values in importance.items()},
        )

    def controls(self, cluster: int, contexts: Sequence[JobContext]) -> list[Controls]:
        """Return the sums of a cluster's controls for the target of each of these contexts.

        The controls do not depend on the target, so all targets share the passes.

        Raises EngineError `non_finite`.
        """
        self.fills.prepare([self.fill])
        activity = self._activity_order(cluster)
        orders = self._control_orders(activity)
        controls = [Controls([], [], activity) for _ in contexts]
        for test in self._tests(cluster, contexts):
            self._run_controls(controls, *self._masks(test, orders))
        return controls

    def runs(self, cluster: int, importance: Importance, controls: Controls | None = None) -> ClusterRuns:
        """Return the sums of all masks of a cluster.

        `controls`: the sums of this cluster's controls where they have run already.

        Raises EngineError `non_finite`.
        """
        self.fills.prepare([self.fill])
        activity = controls.activity if controls else self._activity_order(cluster)
        orders = self._control_orders(activity)
        shared = controls or Controls([], [], activity)
        sums: dict[str, list[MaskSums]] = {name: [] for name in importance}
        kept: dict[str, list[MaskSums]] = {name: [] for name in importance}
        for number, test in enumerate(self._tests(cluster, [self.context])):
            masks, keeping = self._masks(test, orders)
            if controls is None:
                self._run_controls([shared], masks, keeping)
            for name, values in importance.items():
                positions = self._positions(cluster, values)
                sums[name].append(masks.ranking(positions, shared.batches[number], single=self.plan.own))
                if keeping:
                    most = self._most(cluster, values)[None]
                    kept[name].append(keeping.ranking(most, shared.keep[number], single=1))
        return ClusterRuns(shared, {name: self._ranking_runs(sums[name], kept[name]) for name in importance})

    def _masks(self, test: ClusterTest, orders: np.ndarray) -> tuple[Masks, Masks | None]:
        """Return the masks that replace units, and those that keep units.

        `orders`: the controls, as the position of each unit.
        """
        random = self.plan.random
        keeping = Masks(self.runner, test.kept(), orders[:random], random) if self.plan.keep else None
        return Masks(self.runner, test, orders, random), keeping

    def _run_controls(self, controls: Sequence[Controls], masks: Masks, keeping: Masks | None) -> None:
        """Run the controls of a batch and add their sums. `controls`: one for each target."""
        for each, sums in zip(controls, masks.controls(), strict=True):
            each.batches.append(sums)
        for each, sums in zip(controls, keeping.controls() if keeping else [], strict=False):
            each.keep.append(sums)

    def _control_orders(self, activity: np.ndarray | None) -> np.ndarray:
        return self._stacked([*self.random, *([] if activity is None else [activity])])

    def _ranking_runs(self, sums: list[MaskSums], kept: list[MaskSums]) -> RankingRuns:
        plan, columns = self.plan, len(self.counts)
        masks = means_over_counts(summed(sums, columns * (plan.own + plan.relabelled)), plan.own)
        return RankingRuns(masks, means_over_counts(summed(kept, columns), 1) if plan.keep else None)

    def _positions(self, cluster: int, importance: list[np.ndarray]) -> np.ndarray:
        """Return the ranking's orders and controls: in each row the position of each unit."""
        plan, name = self.plan, self.context.clusters[cluster].name
        positions = [getattr(self.orders, order)(importance[cluster], name) for order in plan.orders]
        positions += [self._most(other, importance) for other in range(plan.clusters)]
        # A relabelled control gives unit i the position of unit σ(i). Clusters and rankings share
        # the permutations σ, so that controls depend on each other as the ranking's orders do.
        relabelled = [positions[0][sigma] for sigma in self.random[: plan.relabelled]]
        return self._stacked([*positions, *relabelled])

    def _most(self, cluster: int, importance: list[np.ndarray]) -> np.ndarray:
        return self.orders.most(importance[cluster], self.context.clusters[cluster].name)

    def _stacked(self, positions: list[np.ndarray]) -> np.ndarray:
        return np.stack(positions) if positions else np.zeros((0, self.context.units.count), np.int32)

    def _activity_order(self, cluster: int) -> np.ndarray | None:
        return self.orders.most(self._activity(cluster), self.context.clusters[cluster].name) if self.plan.activity else None

    def _tests(self, cluster: int, contexts: Sequence[JobContext]) -> Iterator[ClusterTest]:
        """Yield the cluster's test examples in batches, with the targets of these contexts."""
        context, nested = self.context, self.runner.nested
        rows = context.clusters[cluster].rows[context.halves[cluster].tested]
        for start in range(0, len(rows), self.batch):
            chosen = rows[start : start + self.batch]
            x = context.examples.inputs(chosen)
            h, live = context.split.head(x)
            labels = context.examples.labels(chosen)
            with torch.no_grad():
                output = context.split.tail(h, live)
                targets = [ScoredTarget(each, each.fix(output, chosen)) for each in contexts]
            context.cost.forward_rows += len(chosen)
            fill = self.fills.of(self.fill, chosen, cluster, x)
            end = nested.at(x) if nested else None
            replaced = nested.replaced(end, fill - h) if nested and end and self.plan.keep else None
            yield ClusterTest(h, live, targets, labels, context.right(output, labels), fill, end, replaced)

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


@dataclass(frozen=True)
class FillTests:
    """The fill tests of a study."""

    main: FillTest
    """With the request's fill."""
    check: FillTest | None
    """With `check_fill`; None where the request needs no such test."""
    reversal: FillTest
    """With the request's fill, for the reversed orders of rankings that are worse than random."""

    @property
    def judging(self) -> list[FillTest]:
        """The tests that every ranking takes."""
        return [self.main, self.check] if self.check else [self.main]

    @classmethod
    def of(cls, request: Ablation, fills: Fills) -> "FillTests":
        """Return the tests that the request needs."""
        context = fills.context
        runner = MaskRunner(context, fills.batch, list(request.counts_of(context.units.count)))
        orders = context.once(_orders)
        plan = study_plan(
            request,
            units=context.units.count,
            clusters=len(context.clusters),
            methods=context.request.methods,
            classes=context.explained,
        )
        checked = check_plan(request, plan) if len(context.all_rows()) > 1 else None
        test = partial(FillTest, fills=fills, runner=runner, orders=orders)
        return cls(
            main=test(plan=plan, fill=request.fill),
            check=test(plan=checked, fill=request.check_fill) if checked and request.check_fill else None,
            reversal=test(plan=reversal_plan(plan), fill=request.fill),
        )


def _orders(context: JobContext) -> Orders:
    return Orders(context.units.count, context.streams)
