"""The ablation study tests each ranking against random orders, by cluster and over all clusters."""

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
from unitrank_schemas.results import AblationResult, Band, Control, Curve, LeastCurve, Overall, Verdict


@dataclass
class RankingStudy:
    """The study's results for one ranking."""

    clusters: list[AblationResult]
    overall: Overall
    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    """Order (`most` or `least`) → its curves, `[clusters, counts + 1]`.

    The first value is with no unit replaced.
    """
    changed_verdicts: dict[int | None, Verdict] = field(default_factory=dict)
    """Cluster → its verdict with `check_fill`, where it differs.

    The key None has the overall verdict.
    """
    seconds: float = 0.0
    """The study's time divided by the number of rankings."""


@runtime_checkable
class ClusterTester(Protocol):
    """Tests the rankings on one cluster after another, with one fill."""

    @property
    def fill(self) -> Fill: ...

    def masks(self, rankings: int) -> int:
        """Return how many masks run on each test example for this number of rankings."""

    def run(self, cluster: int, importance: Importance) -> TestedCluster:
        """Test the rankings on one cluster. Raises EngineError `non_finite`."""


class Study:
    """Tests the rankings of a job and gives the verdicts.

    `tests`: the test with the request's fill; a second one, if any, has `check_fill`.
    """

    def __init__(self, context: JobContext, request: Ablation, tests: Sequence[ClusterTester]) -> None:
        self.context = context
        self.request = request
        self.tests = tests
        counts = request.counts_of(context.units.count)
        self.counts, self.fractions = list(counts), list(counts.values())

    def plan(self, rankings: int) -> None:
        """Announce the stage's rows for this number of rankings.

        A row is one example under one mask.
        """
        masks = sum(test.masks(rankings) for test in self.tests)
        examples = sum(len(halves.tested) for halves in self.context.halves)
        self.context.meter.plan(STAGE, examples * masks if self.counts else 0, self.context.split.tail_cost)

    def run(self, importance: Importance) -> tuple[dict[str, RankingStudy], np.ndarray]:
        """Return each ranking's study, and the random curves `[clusters, random, counts + 1]`.

        `importance`: ranking's id → each cluster's importance of every unit, from the examples that
            rank.

        Raises EngineError `non_finite`.
        """
        began = perf_counter()
        main, *checks = self.tests
        tested, checked = [], []
        for cluster in range(len(self.context.clusters)):
            tested.append(main.run(cluster, importance))
            checked += [_run_check(check, cluster, importance) for check in checks]
        studies = {name: self._judge(name, tested) for name in importance}
        seconds = perf_counter() - began
        for name, study in studies.items():
            # The controls serve all rankings, so every ranking gets an equal share of the time.
            study.seconds = seconds / len(studies)
            if checked:
                study.changed_verdicts = _changed_verdicts(study, self._judge(name, checked))
        return studies, np.stack([_with_intact(test, test.random) for test in tested])

    def _judge(self, name: str, tested: list[TestedCluster]) -> RankingStudy:
        """Return the verdicts of one ranking from the curves of all clusters."""
        request, most = self.request, f"most/{name}"
        drops = [
            (test.drop(most), drop(test.intact, test.random)) if test.has(most) and request.random else None for test in tested
        ]
        chances = [chance(*each, request.level) if each else None for each in drops]
        corrected = holm([outcome.p_value if outcome else None for outcome in chances])
        clusters = [self._result(name, *each) for each in zip(tested, chances, corrected, strict=True)]
        study = RankingStudy(clusters, self._overall([each for each in drops if each], sum(test.examples for test in tested)))
        for order in request.orders:
            if all(f"{order}/{name}" in test.names for test in tested):
                study.arrays[order] = np.stack([_with_intact(test, test.curve(f"{order}/{name}")) for test in tested])
        return study

    def _decidable(self, examples: int) -> bool:
        return decidable(self.context.units.count, self.counts, self.request.random, self.request.level, examples)

    def _overall(self, drops: list[tuple[float, np.ndarray]], examples: int) -> Overall:
        """Return the verdict over all tested clusters, also over clusters without a verdict.

        `drops`: the ranking's drop and the random orders' drops in each cluster.
        `examples`: number of test examples of all clusters.
        """
        if not drops:
            return Overall(verdict="undecided")
        of_ranking, of_random = zip(*drops, strict=True)
        result = overall(np.array(of_ranking), np.stack(of_random), self.request.level)
        verdict = result.verdict if self._decidable(examples) else "undecided"
        return Overall(p_value=result.p_value, p_worse=result.p_worse, verdict=verdict)

    def _result(self, name: str, test: TestedCluster, outcome: Chance | None, p_holm: float | None) -> AblationResult:
        least = _curve(test, f"least/{name}")
        return AblationResult(
            counts=self.counts,
            fractions=self.fractions,
            most=_curve(test, f"most/{name}"),
            least=LeastCurve(**least.model_dump()) if least else None,
            random=_control(test, self.request.level) if test.has("random") else None,
            activity_area=test.area(test.drop("activity")) if test.has("activity") else None,
            p_value=outcome.p_value if outcome else None,
            p_worse=outcome.p_worse if outcome else None,
            p_holm=p_holm,
            verdict=outcome.verdict if outcome and self._decidable(test.examples) else "undecided",
        )


def _run_check(test: ClusterTester, cluster: int, importance: Importance) -> TestedCluster:
    """Test a cluster with `check_fill`. An EngineError names `check_fill` and its value."""
    try:
        return test.run(cluster, importance)
    except EngineError as error:
        detail = f"with `check_fill: {test.fill}`, {error.detail}, or `check_fill: null`"
        raise EngineError(error.code, detail) from error


def _curve(test: TestedCluster, name: str) -> Curve | None:
    if not test.has(name):
        return None
    accuracy = test.accuracy_curve(name)
    return Curve(
        score=test.curve(name).tolist(),
        accuracy=None if accuracy is None else accuracy.tolist(),
        area=test.area(test.drop(name)),
    )


def _control(test: TestedCluster, level: float) -> Control:
    areas = [test.area(float(value)) for value in drop(test.intact, test.random)]
    defined = [value for value in areas if value is not None]
    return Control(
        score=_band(test.random, level),
        accuracy=None if test.random_accuracy is None else _band(test.random_accuracy, level),
        area=float(np.mean(defined)) if defined else None,
    )


def _band(curves: np.ndarray, level: float) -> Band:
    """Return at each count the mean over orders, and the central range with the share `level`."""
    low, high = np.quantile(curves, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return Band(mean=curves.mean(0).tolist(), low=low.tolist(), high=high.tolist())


def _with_intact(test: TestedCluster, curves: np.ndarray) -> np.ndarray:
    """Return the curves with F at count 0, where no unit is replaced, as their first value."""
    front = np.full((*curves.shape[:-1], 1), test.intact)
    return np.concatenate([front, curves], axis=-1)


def _changed_verdicts(study: RankingStudy, check: RankingStudy) -> dict[int | None, Verdict]:
    """Return the verdicts of `check` that differ from those of `study`, by cluster.

    The key None has the overall verdict of `check`.
    """
    changed: dict[int | None, Verdict] = {}
    for index, (result, checked) in enumerate(zip(study.clusters, check.clusters, strict=True)):
        if result.verdict != checked.verdict:
            changed[index] = checked.verdict
    if study.overall.verdict != check.overall.verdict:
        changed[None] = check.overall.verdict
    return changed
