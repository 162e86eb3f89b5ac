"""The ablation study: each ranking against random orders, cluster by cluster and over all."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import Protocol, runtime_checkable

import numpy as np

from unitrank_engine.ablation.curves import STAGE
from unitrank_engine.ablation.fill_test import Importance, TestedCluster
from unitrank_engine.ablation.verdict import Chance, chance, decidable, drop, holm, overall
from unitrank_engine.errors import EngineError
from unitrank_engine.job.context import JobContext
from unitrank_schemas.base import Fill
from unitrank_schemas.jobs.ablation import Ablation
from unitrank_schemas.results import AblationResult, Band, Control, Curve, Overall


@dataclass
class RankingStudy:
    """What the study says of one ranking."""

    clusters: list[AblationResult]
    overall: Overall
    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    differs: list[int | None] = field(default_factory=list)
    """Clusters whose verdict another fill changes; None stands for the overall one."""
    seconds: float = 0.0


@runtime_checkable
class ClusterTester(Protocol):
    """Tests the rankings on one cluster after another, with one fill."""

    @property
    def fill(self) -> Fill: ...

    def masks(self, rankings: int) -> int:
        """The masks to be run on each test example for this number of rankings."""

    def run(self, cluster: int, importance: Importance) -> TestedCluster:
        """Raises EngineError `non_finite`."""


class Study:
    """Tests the rankings of a job. `importance[id][cluster]` is what the ranking side of the cluster gave."""

    def __init__(self, context: JobContext, request: Ablation, tests: Sequence[ClusterTester]) -> None:
        """`tests`: with the fill of the request, and where there is a second one, with the fill that checks the verdicts."""
        self.context = context
        self.request = request
        self.tests = tests
        counts = request.counts_of(context.units.count)
        self.counts, self.fractions = list(counts), list(counts.values())

    def plan(self, rankings: int) -> None:
        """Announces the stage for this number of rankings; a row is one pass through the tail."""
        masks = sum(test.masks(rankings) for test in self.tests)
        examples = sum(len(halves.tested) for halves in self.context.halves)
        self.context.meter.plan(STAGE, examples * masks if self.counts else 0, self.context.split.tail_cost)

    def run(self, importance: Importance) -> tuple[dict[str, RankingStudy], np.ndarray]:
        """Each ranking's study, and the random curves `[clusters, random, counts + 1]`."""
        began = perf_counter()
        first, *others = self.tests
        tested, checked = [], []
        for cluster in range(len(self.context.clusters)):
            tested.append(first.run(cluster, importance))
            checked += [_checked(other, cluster, importance) for other in others]
        studies = {name: self._judge(name, tested) for name in importance}
        seconds = perf_counter() - began
        for name, study in studies.items():
            # the controls serve all rankings alike
            study.seconds = seconds / len(studies)
            if checked:
                study.differs = _differences(study, self._judge(name, checked))
        return studies, np.stack([_with_none(test, test.random) for test in tested])

    def _judge(self, name: str, tested: list[TestedCluster]) -> RankingStudy:
        """Verdicts of one ranking from what was measured."""
        request, most = self.request, f"most/{name}"
        drops = [(test.drop(most), drop(test.none, test.random)) if test.has(most) and request.random else None for test in tested]
        chances = [chance(*each, request.level) if each else None for each in drops]
        corrected = holm([outcome.p_value if outcome else None for outcome in chances])
        clusters = [self._result(name, *each) for each in zip(tested, chances, corrected, strict=True)]
        study = RankingStudy(clusters, self._overall([each for each in drops if each], sum(test.examples for test in tested)))
        for order in request.orders:
            if all(f"{order}/{name}" in test.names for test in tested):
                study.arrays[order] = np.stack([_with_none(test, test.rows(f"{order}/{name}")) for test in tested])
        return study

    def _decidable(self, examples: int) -> bool:
        return decidable(self.context.units.count, self.counts, self.request.random, self.request.level, examples)

    def _overall(self, drops: list[tuple[float, np.ndarray]], examples: int) -> Overall:
        """Over all clusters that were tested, those too that are undecided by themselves."""
        if not drops:
            return Overall(verdict="undecided")
        own, random = zip(*drops, strict=True)
        found = overall(np.array(own), np.stack(random), self.request.level)
        verdict = found.verdict if self._decidable(examples) else "undecided"
        return Overall(p_value=found.p_value, p_worse=found.p_worse, verdict=verdict)

    def _result(self, name: str, test: TestedCluster, found: Chance | None, p_holm: float | None) -> AblationResult:
        return AblationResult(
            counts=self.counts,
            fractions=self.fractions,
            most=_curve(test, f"most/{name}"),
            least=_curve(test, f"least/{name}"),
            random=_control(test, self.request.level) if test.has("random") else None,
            activity_area=test.area(test.drop("activity")) if test.has("activity") else None,
            p_value=found.p_value if found else None,
            p_worse=found.p_worse if found else None,
            p_holm=p_holm,
            verdict=found.verdict if found and self._decidable(test.examples) else "undecided",
        )


def _checked(test: ClusterTester, cluster: int, importance: Importance) -> TestedCluster:
    """The cluster, tested with the other fill."""
    try:
        return test.run(cluster, importance)
    except EngineError as error:
        detail = f"with `check_fill: {test.fill}` {error.detail}, or `check_fill: null`"
        raise EngineError(error.code, detail) from error


def _curve(test: TestedCluster, name: str) -> Curve | None:
    if not test.has(name):
        return None
    rights = test.rights(name)
    return Curve(
        score=test.rows(name).tolist(),
        accuracy=None if rights is None else rights.tolist(),
        area=test.area(test.drop(name)),
    )


def _control(test: TestedCluster, level: float) -> Control:
    areas = [test.area(float(value)) for value in drop(test.none, test.random)]
    defined = [value for value in areas if value is not None]
    return Control(
        score=_band(test.random, level),
        accuracy=None if test.random_right is None else _band(test.random_right, level),
        area=float(np.mean(defined)) if defined else None,
    )


def _band(curves: np.ndarray, level: float) -> Band:
    """Mean and central range over orders, count by count."""
    low, high = np.quantile(curves, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return Band(mean=curves.mean(0).tolist(), low=low.tolist(), high=high.tolist())


def _with_none(test: TestedCluster, curves: np.ndarray) -> np.ndarray:
    """Curves with the unaltered score in front."""
    front = np.full((*curves.shape[:-1], 1), test.none)
    return np.concatenate([front, curves], axis=-1)


def _differences(study: RankingStudy, other: RankingStudy) -> list[int | None]:
    changed: list[int | None] = [
        index for index, (one, two) in enumerate(zip(study.clusters, other.clusters, strict=True)) if one.verdict != two.verdict
    ]
    return changed + ([None] if study.overall.verdict != other.overall.verdict else [])
