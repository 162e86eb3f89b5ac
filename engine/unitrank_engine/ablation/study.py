"""The ablation study tests each ranking against random orders, by cluster and over all clusters."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import perf_counter
from typing import Protocol, runtime_checkable

import numpy as np

from unitrank_engine.ablation.cluster_result import cluster_result
from unitrank_engine.ablation.masks.fill_test import Importance
from unitrank_engine.ablation.masks.mask_runner import STAGE
from unitrank_engine.ablation.masks.tested import Curves, TestedCluster
from unitrank_engine.ablation.statistics.comparisons import RankingDrops, comparisons, noise
from unitrank_engine.ablation.statistics.judgement import Judge, Judgement, Outcome, RankingTest, Tested, pooled_area
from unitrank_engine.ablation.statistics.other_examples import p_other_examples
from unitrank_engine.ablation.statistics.per_example import cluster_crosses, ranking_drops
from unitrank_engine.ablation.statistics.removable import removable_at
from unitrank_engine.ablation.statistics.specificity import specificity
from unitrank_engine.ablation.statistics.verdict import undecided
from unitrank_engine.errors import EngineError
from unitrank_engine.job.context import JobContext
from unitrank_schemas.base import Fill
from unitrank_schemas.jobs.ablation import Ablation
from unitrank_schemas.jobs.study_plan import StudyPlan
from unitrank_schemas.methods import entry_id
from unitrank_schemas.results import AblationResult, Comparison, Overall, Specificity

EQUAL_SCORES = "all scores are equal, so they give no order that can be tested; check how they were computed"
OTHER_P = 5.0
"""Factor between two p-values above which two verdicts differ by more than chance."""


@dataclass
class RankingStudy:
    """The study's results for one ranking."""

    clusters: list[AblationResult]
    overall: Overall
    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    """Order (`most`, `least` or `keep`) → its curves, `[clusters, counts + 1]`.

    The first value is with no unit replaced, for `keep` with all units replaced.
    """
    tests: dict[str, np.ndarray] = field(default_factory=dict)
    """Order (`most` or `keep`) → the mean drop of each test example, all clusters joined."""
    specificity: Specificity | None = None
    other_verdicts: dict[int | None, Outcome] = field(default_factory=dict)
    """Cluster → the outcome with `check_fill`, where it contradicts the verdict.

    The key None has the overall outcome.
    """
    reversed_order: Outcome | None = None
    """The overall outcome of the reversed order; only for a verdict worse than random."""
    p_other_examples: float | None = None
    """The p-value of the ranking's lead over random orders, with the examples as a sample."""
    reasons: dict[int | None, str] = field(default_factory=dict)
    """Cluster → why its verdict is undecided; the key None has the overall verdict.

    Clusters with too few test examples are not among them.
    """
    seconds: float = 0.0
    """The study's time divided by the number of rankings."""


@dataclass(frozen=True)
class StudyOutcome:
    """The studies of all rankings, and the comparisons between them."""

    rankings: dict[str, RankingStudy]
    random: np.ndarray
    """The random orders' curves, `[clusters, random, counts + 1]`."""
    all_replaced: np.ndarray
    """The drop of each test example with all units replaced, all clusters joined."""
    comparisons: list[Comparison]
    activity_area: float | None
    """Area of the order by activity over all clusters."""


@dataclass(frozen=True)
class Measured:
    """The tests of the rankings of one target, before they are judged."""

    importance: Importance
    tested: list[TestedCluster]
    rankings: Mapping[str, Tested]
    checked: Mapping[str, Tested]
    """The tests with `check_fill`; empty without them."""
    seconds: float


@dataclass(frozen=True)
class Judged:
    """The judgements of a family of rankings, by their ids."""

    main: Mapping[str, Judgement]
    check: Mapping[str, Judgement]
    """With `check_fill`; empty without this test."""


@runtime_checkable
class ClusterTester(Protocol):
    """Tests the rankings on all clusters, with one fill."""

    @property
    def fill(self) -> Fill: ...

    @property
    def plan(self) -> StudyPlan: ...

    def masks(self, rankings: int) -> int:
        """Return how many masks run on each test example for this number of rankings."""

    def run(self, importance: Importance) -> list[TestedCluster]:
        """Test the rankings on all clusters. Raises EngineError `non_finite`."""


ReversedTest = Callable[[Importance], list[TestedCluster]]
"""Takes the negated importances of rankings; returns their tests on all clusters."""


class Study:
    """Tests the rankings of a job and gives the verdicts.

    `tests`: the test with the request's fill; a second one, if any, has `check_fill`.
    `test_reversed`: tests reversed orders on all clusters.
    """

    def __init__(self, context: JobContext, request: Ablation, tests: Sequence[ClusterTester], test_reversed: ReversedTest) -> None:
        self.context = context
        self.request = request
        self.tests = tests
        self.test_reversed = test_reversed
        self.counts = request.counts_of(context.units.count)

    def plan(self, rankings: int) -> None:
        """Announce the stage's rows for this number of rankings."""
        announce(self.context, sum(test.masks(rankings) for test in self.tests) if self.counts else 0)

    def measure(self, importance: Importance) -> Measured:
        """Test the rankings on all clusters.

        `importance`: ranking's id → each cluster's importance of every unit, from the examples that
            rank.

        Raises EngineError `non_finite`.
        """
        began = perf_counter()
        main, *checks = self.tests
        tested, checked = main.run(importance), dict[str, Tested]()
        for check in checks:
            with naming_check(check.fill):
                checked = _by_ranking(check.run(importance), importance)
        return Measured(importance, tested, _by_ranking(tested, importance), checked, perf_counter() - began)

    def conclude(self, measured: Measured, judged: Judged) -> StudyOutcome:
        """Return the outcome of the study. Raises EngineError `non_finite`.

        `judged`: the judgements of the family that the rankings belong to.
        """
        began, importance, rankings, tested = perf_counter(), measured.importance, measured.rankings, measured.tested
        studies = {name: self._study(name, each, judged.main[name]) for name, each in rankings.items()}
        for name in measured.checked:
            studies[name].other_verdicts = _other_verdicts(judged.main[name], judged.check[name])
        for name, outcome in self._reversed(importance, studies).items():
            studies[name].reversed_order = outcome
        for study in studies.values():
            # The controls serve all rankings, so every ranking gets an equal share of the time.
            study.seconds = (measured.seconds + perf_counter() - began) / len(studies)
        return StudyOutcome(
            rankings=studies,
            random=np.stack([_with_first(test.random, test.ends.score[0, 0]) for test in tested]),
            all_replaced=np.concatenate([test.changes for test in tested]),
            comparisons=self._compare(rankings, studies),
            activity_area=pooled_area([(test, test.drop(test.activity)) for test in tested if test.activity and test.has_area]),
        )

    def _reversed(self, importance: Importance, studies: Mapping[str, RankingStudy]) -> dict[str, Outcome]:
        """Return the overall outcome of the reversed orders of rankings worse than random."""
        worse = [name for name, study in studies.items() if study.overall.verdict == "worse_than_random"]
        negated = {name: [-values for values in importance[name]] for name in worse}
        if not worse:
            return {}
        tests = self.family_tests(0, _by_ranking(self.test_reversed(negated), negated))
        judgements = Judge(self.request.level).of(tests, self.noise(tests))
        return {name: judgement.outcomes()[None] for name, judgement in judgements.items()}

    def family_tests(self, number: int, rankings: Mapping[str, Tested]) -> dict[str, RankingTest]:
        """Return the tests of rankings as the judge takes them. `number`: of the fill test."""
        if not rankings:
            return {}
        units, counts, level = self.context.units.count, list(self.counts), self.request.level
        random = self.tests[number].plan.random
        return {
            name: RankingTest(tested, lambda examples: undecided(units, counts, random, level, examples) is None)
            for name, tested in rankings.items()
        }

    def noise(self, rankings: Iterable[str]) -> set[str]:
        """Return the ids of the rankings `random` among these."""
        noise = {entry.entry_id for entry in self.context.request.methods if entry.name == "random"}
        return {name for name in rankings if entry_id(name) in noise}

    def _compare(self, rankings: Mapping[str, Tested], studies: Mapping[str, RankingStudy]) -> list[Comparison]:
        if not self.counts or "most" not in self.request.orders:
            return []
        return comparisons(
            [self._drops(name, tested, studies[name].overall) for name, tested in rankings.items()], self.request.level
        )

    def _drops(self, name: str, tested: Tested, overall: Overall) -> RankingDrops:
        methods = {str(entry.id): entry.name for entry in self.context.request.methods}
        number = self.context.target_class
        return ranking_drops(tested, ranking=name, method=methods[name], target_class=number, verdict=overall.verdict)

    def _study(self, name: str, tested: Tested, judgement: Judgement) -> RankingStudy:
        clusters = [
            cluster_result(cluster, ranking, outcome, counts=self.counts, request=self.request)
            for (cluster, ranking), outcome in zip(tested, judgement.clusters, strict=True)
        ]
        crosses = cluster_crosses(tested, [cluster.name for cluster in self.context.clusters])
        orders = self.request.orders if self.counts else []
        lead = noise(self._drops(name, tested, judgement.overall)) if "most" in orders else None
        return RankingStudy(
            clusters=clusters,
            overall=judgement.overall.model_copy(update={"removable_at": self._removable_at(tested), "noise": lead}),
            arrays=self._arrays(tested),
            tests=_by_example(tested) if "most" in orders else {},
            p_other_examples=p_other_examples(tested),
            reasons=self._reasons(tested, judgement),
            specificity=specificity(crosses, self.request.level, self.context.streams.generator("specificity")),
        )

    def _reasons(self, tested: Tested, judgement: Judgement) -> dict[int | None, str]:
        if judgement.overall.verdict != "undecided" or not tested:
            return {number: EQUAL_SCORES for number, (_, ranking) in enumerate(tested) if not ranking.ordered}
        if "most" not in self.request.orders:
            return {None: "the order 'most' was not tested; add 'most' to `orders`"}
        examples = sum(cluster.examples for cluster, _ in tested)
        units, request = self.context.units.count, self.request
        return {None: undecided(units, list(self.counts), request.random, request.level, examples) or EQUAL_SCORES}

    def _removable_at(self, tested: Tested) -> int | None:
        """Return how many units of the order `least` can be replaced, over all clusters."""
        wrong = [ranking.newly_wrong for cluster, ranking in tested if cluster.examples]
        if not wrong or any(each is None for each in wrong):
            return None
        examples = sum(cluster.examples for cluster, _ in tested)
        total = [int(count) for count in np.sum([each for each in wrong if each is not None], axis=0)]
        request = self.request
        return removable_at(list(self.counts), total, examples=examples, level=request.level, tolerance=request.tolerance)

    def _arrays(self, tested: Tested) -> dict[str, np.ndarray]:
        arrays = {}
        for order in self.request.orders:
            curves = [ranking.keep if order == "keep" else ranking.orders.get(order) for _, ranking in tested]
            first = 1 if order == "keep" else 0
            if all(curves):
                pairs = zip(curves, tested, strict=True)
                arrays[str(order)] = np.stack(
                    [_with_first(curve, cluster.ends.score[0, first])[0] for curve, (cluster, _) in pairs if curve]
                )
        return arrays


def _by_example(tested: Tested) -> dict[str, np.ndarray]:
    by_example = {"most": np.concatenate([ranking.drops["most"] for _, ranking in tested])}
    losses = [ranking.losses for _, ranking in tested if ranking.losses is not None]
    return by_example | ({"keep": np.concatenate(losses)} if len(losses) == len(tested) else {})


def announce(context: JobContext, masks: int) -> None:
    """Announce the stage's rows: each test example under this number of masks."""
    examples = sum(len(halves.tested) for halves in context.halves)
    context.meter.plan(STAGE, examples * masks, context.split.tail_cost)


@contextmanager
def naming_check(fill: Fill) -> Iterator[None]:
    """Name `check_fill` and its value in an EngineError inside the context."""
    try:
        yield
    except EngineError as error:
        detail = f"with `check_fill: {fill}`, {error.detail}, or `check_fill: null`"
        raise EngineError(error.code, detail) from error


def _by_ranking(tested: list[TestedCluster], importance: Importance) -> dict[str, Tested]:
    return {name: [(cluster, cluster.rankings[name]) for cluster in tested] for name in importance}


def _with_first(curves: Curves, first: float) -> np.ndarray:
    """Return the mean F of the curves, with this value at count 0 in front."""
    return np.concatenate([np.full((len(curves.score), 1), first), curves.score], axis=1)


def _other_verdicts(main: Judgement, other: Judgement) -> dict[int | None, Outcome]:
    """Return the outcomes of `other` whose verdict contradicts that of `main`, by cluster.

    Two tests of one ranking often fall on two sides of a threshold by chance. So the p-values must
    differ, too, by a factor above OTHER_P.
    """
    differing: dict[int | None, Outcome] = {}
    for cluster, ours in main.outcomes().items():
        theirs = other.outcomes()[cluster]
        if "undecided" in (ours.verdict, theirs.verdict) or ours.verdict == theirs.verdict:
            continue
        ratios = [a / b for a, b in ((ours.better, theirs.better), (ours.worse, theirs.worse)) if a and b]
        if max((max(ratio, 1 / ratio) for ratio in ratios), default=0.0) > OTHER_P:
            differing[cluster] = theirs
    return differing
