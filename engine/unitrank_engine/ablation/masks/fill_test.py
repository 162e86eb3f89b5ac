"""A fill test runs the ablation of all clusters with one fill: the controls, and each ranking."""

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial

import numpy as np
import torch

from unitrank_engine.ablation.cluster_batches import ClusterBatch, map_batches, tested_batches
from unitrank_engine.ablation.masks.activity import activity
from unitrank_engine.ablation.masks.mask_runner import ClusterTest, MaskRunner, MaskSums, ScoredTarget
from unitrank_engine.ablation.masks.masks import Masks
from unitrank_engine.ablation.masks.orders import Orders
from unitrank_engine.ablation.masks.runs import BatchControls, ClusterRuns, Controls, RankingRuns, means_over_counts, summed
from unitrank_engine.ablation.masks.sum_arrays import arrays_of, sums_from
from unitrank_engine.ablation.masks.tested import TestedCluster, tested_cluster
from unitrank_engine.job.context import JobContext
from unitrank_engine.job.fills import Fills
from unitrank_schemas.base import Fill
from unitrank_schemas.jobs.study_plan import StudyPlan
from unitrank_tables.range_result import Arrays

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

    def run(self, importance: Importance) -> list[TestedCluster]:
        """Test the rankings on all clusters. Raises EngineError `non_finite`."""
        return self.tested(importance, self.runs(importance))

    def tested(self, importance: Importance, runs: Sequence[ClusterRuns]) -> list[TestedCluster]:
        """Return the curves of each cluster from the sums of its masks."""
        return [
            tested_cluster(
                self.plan,
                each,
                examples=len(self.context.halves[cluster].tested),
                measure=self.runner.measure,
                ordered={name: bool(np.ptp(values[cluster])) for name, values in importance.items()},
            )
            for cluster, each in enumerate(runs)
        ]

    def controls(self, contexts: Sequence[JobContext]) -> list[list[Controls]]:
        """Return the sums of each cluster's controls for the target of each of these contexts.

        The controls do not depend on the target, so all targets share the passes.

        Raises EngineError `non_finite`.
        """
        self.fills.prepare([self.fill])
        by_activity = self._activity()

        def compute(batch: ClusterBatch) -> Arrays:
            masks, keeping = self._masks(self._test(batch, contexts), self._control_orders(by_activity[batch.cluster]))
            arrays: dict[str, np.ndarray] = {}
            for number, sums in enumerate(_run_controls(masks, keeping)):
                arrays |= _control_arrays(f"{number}/", sums)
            return arrays

        arrays = self._map(compute, self.plan.masks(0))
        return [self._controls_from(arrays, f"{number}/", by_activity) for number in range(len(contexts))]

    def runs(self, importance: Importance, controls: Sequence[Controls] = ()) -> list[ClusterRuns]:
        """Return the sums of all masks of each cluster.

        `controls`: the sums of the clusters' controls where they have run already.

        Raises EngineError `non_finite`.
        """
        self.fills.prepare([self.fill])
        by_activity = [each.activity for each in controls] or self._activity()

        def compute(batch: ClusterBatch) -> Arrays:
            masks, keeping = self._masks(self._test(batch, [self.context]), self._control_orders(by_activity[batch.cluster]))
            if controls:
                sums, arrays = controls[batch.cluster].of_batch(batch.number), dict[str, np.ndarray]()
            else:
                (sums,) = _run_controls(masks, keeping)
                arrays = _control_arrays("", sums)
            for index, values in enumerate(importance.values()):
                arrays |= self._ranking_arrays(f"{index}/", batch.cluster, values, masks, keeping, sums)
            return arrays

        arrays = self._map(compute, self.plan.masks(len(importance), controls=not controls))
        shared = controls or self._controls_from(arrays, "", by_activity)
        rankings = {name: self._rankings_from(arrays, f"{index}/") for index, name in enumerate(importance)}
        return [ClusterRuns(each, {name: runs[cluster] for name, runs in rankings.items()}) for cluster, each in enumerate(shared)]

    def _map(self, compute: Callable[[ClusterBatch], Arrays], masks: int) -> Arrays:
        """Return the arrays of all batches. `masks`: the number of masks of each example."""
        before = self.context.cost.halvings
        arrays = map_batches(self.context, self._batches, compute, operations=self.context.split.tail_cost * masks)
        self.runner.halved = self.runner.halved or self.context.cost.halvings > before
        return arrays

    @cached_property
    def _batches(self) -> list[ClusterBatch]:
        return tested_batches(self.context, self.batch)

    def _of_clusters(self, sums: Callable[[Sequence[int]], list[MaskSums]]) -> list[list[MaskSums]]:
        """Return the batches' sums of each cluster.

        `sums`: takes the number of examples of each batch; returns the sums of each batch.
        """
        of_clusters: list[list[MaskSums]] = [[] for _ in self.context.clusters]
        for batch, each in zip(self._batches, sums([len(batch.rows) for batch in self._batches]), strict=True):
            of_clusters[batch.cluster].append(each)
        return of_clusters

    def _controls_from(self, arrays: Arrays, prefix: str, by_activity: Sequence[np.ndarray | None]) -> list[Controls]:
        batches = self._of_clusters(partial(sums_from, arrays, f"{prefix}controls"))
        keep = self._of_clusters(partial(sums_from, arrays, f"{prefix}keep")) if self.plan.keep else [[] for _ in batches]
        return [Controls(*each) for each in zip(batches, keep, by_activity, strict=True)]

    def _rankings_from(self, arrays: Arrays, prefix: str) -> list[RankingRuns]:
        plan, columns = self.plan, len(self.counts)
        masks = self._of_clusters(partial(sums_from, arrays, f"{prefix}masks"))
        keep = self._of_clusters(partial(sums_from, arrays, f"{prefix}keep")) if plan.keep else [None for _ in masks]
        return [
            RankingRuns(
                summed(of_masks, columns * (plan.own + plan.relabelled), plan.own),
                None if kept is None else summed(kept, columns, 1),
            )
            for of_masks, kept in zip(masks, keep, strict=True)
        ]

    def _ranking_arrays(
        self, prefix: str, cluster: int, importance: list[np.ndarray], masks: Masks, keeping: Masks | None, controls: BatchControls
    ) -> dict[str, np.ndarray]:
        plan = self.plan
        sums = masks.ranking(self._positions(cluster, importance), controls.sums, single=plan.own)
        arrays = arrays_of(f"{prefix}masks", means_over_counts(sums, plan.own))
        if keeping and controls.keep:
            kept = keeping.ranking(self._most(cluster, importance)[None], controls.keep, single=1)
            arrays |= arrays_of(f"{prefix}keep", means_over_counts(kept, 1))
        return arrays

    def _masks(self, test: ClusterTest, orders: np.ndarray) -> tuple[Masks, Masks | None]:
        """Return the masks that replace units, and those that keep units.

        `orders`: the controls, as the position of each unit.
        """
        random = self.plan.random
        keeping = Masks(self.runner, test.kept(), orders[:random], random) if self.plan.keep else None
        return Masks(self.runner, test, orders, random), keeping

    def _control_orders(self, activity: np.ndarray | None) -> np.ndarray:
        return self._stacked([*self.random, *([] if activity is None else [activity])])

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

    def _test(self, batch: ClusterBatch, contexts: Sequence[JobContext]) -> ClusterTest:
        """Return a batch of test examples, with the targets of these contexts."""
        context, nested, chosen = self.context, self.runner.nested, batch.rows
        x = context.examples.inputs(chosen)
        h, live = context.split.head(x)
        labels = context.examples.labels(chosen)
        with torch.no_grad():
            output = context.split.tail(h, live)
            targets = [ScoredTarget(each, each.fix(output, chosen)) for each in contexts]
        context.cost.forward_rows += len(chosen)
        fill = self.fills.of(self.fill, chosen, batch.cluster, x)
        end = nested.at(x) if nested else None
        replaced = nested.replaced(end, fill - h) if nested and end and self.plan.keep else None
        return ClusterTest(context.split.unreplaced(h), live, targets, labels, context.right(output, labels), fill, end, replaced)

    def _activity(self) -> list[np.ndarray | None]:
        """Return each cluster's order by activity; None where it is not among the controls."""
        if not self.plan.activity:
            return [None for _ in self.context.clusters]
        names = [cluster.name for cluster in self.context.clusters]
        return [self.orders.most(each, name) for each, name in zip(activity(self.fills, self.fill), names, strict=True)]


def _run_controls(masks: Masks, keeping: Masks | None) -> list[BatchControls]:
    """Return the sums of a batch's controls, for each target."""
    sums, kept = masks.controls(), keeping.controls() if keeping else None
    return [BatchControls(each, kept[number] if kept else None) for number, each in enumerate(sums)]


def _control_arrays(prefix: str, controls: BatchControls) -> dict[str, np.ndarray]:
    arrays = arrays_of(f"{prefix}controls", controls.sums)
    return arrays | ({} if controls.keep is None else arrays_of(f"{prefix}keep", controls.keep))
