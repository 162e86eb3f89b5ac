"""The plan of an ablation study: which orders are tested, and how many masks that takes."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from unitrank_schemas.jobs.ablation import Ablation
from unitrank_schemas.methods import MethodBase

MOST_CHECKED = 39
"""Random orders, and relabelled controls of each ranking, of the test with `check_fill`."""


@dataclass(frozen=True)
class StudyPlan:
    """The orders that a study with one fill tests on each cluster.

    `counts`: the number of counts of replaced units.
    `orders`: the orders of each ranking, `most` before `least`.
    `random`: the number of random orders.
    `relabelled`: the number of relabelled controls of each ranking.
    `clusters`: the number of clusters whose orders are tested on each cluster; 0 without
        specificity.
    `keep`: whether each order's first units are also kept.
    `activity`: whether the order by activity is tested.
    """

    counts: int
    orders: tuple[str, ...]
    random: int
    relabelled: int
    clusters: int
    keep: bool
    activity: bool

    @property
    def own(self) -> int:
        """The number of orders of a ranking without its relabelled controls."""
        return len(self.orders) + self.clusters

    @property
    def shared(self) -> int:
        """The number of orders that all rankings share."""
        return self.random + self.activity

    def masks(self, rankings: int, *, controls: bool = True) -> int:
        """The number of masks that run on each test example for this number of rankings.

        `controls`: whether the orders that all rankings share run, too.
        """
        ends = 2 * (1 + self.keep)
        shared = ends + self.counts * (self.shared + self.random * self.keep)
        return shared * controls + rankings * self.counts * (self.own + self.relabelled + self.keep)


def study_plan(ablation: Ablation, *, units: int, clusters: int, methods: Sequence[MethodBase], classes: int = 1) -> StudyPlan:
    """The plan of the study with `fill`.

    A job with one cluster and one ranking needs no relabelled controls, because the random orders
    serve for all its tests.

    `classes`: the number of classes that are explained; each of them has rankings of its own.
    """
    counts = len(ablation.counts_of(units))
    tests = bool(counts) and "most" in ablation.orders
    rankings = classes * sum(method.name != "random" for method in methods)
    return StudyPlan(
        counts=counts,
        orders=tuple(order for order in ("most", "least") if order in ablation.orders),
        random=ablation.random,
        relabelled=ablation.random if tests and (clusters > 1 or rankings > 1) else 0,
        clusters=clusters if tests and ablation.tests_specificity(clusters) else 0,
        keep=bool(counts) and "keep" in ablation.orders,
        activity=True,
    )


def reversal_plan(plan: StudyPlan) -> StudyPlan:
    """The plan of the test of reversed orders, for rankings that are worse than random."""
    return replace(plan, orders=("most",), clusters=0, keep=False, activity=False)


def check_plan(ablation: Ablation, plan: StudyPlan) -> StudyPlan | None:
    """The plan of the study with `check_fill`; None where the study is not repeated."""
    if ablation.check_fill in (None, ablation.fill) or not (plan.counts and plan.random and "most" in plan.orders):
        return None
    random, relabelled = min(plan.random, MOST_CHECKED), min(plan.relabelled, MOST_CHECKED)
    return replace(reversal_plan(plan), random=random, relabelled=relabelled)
