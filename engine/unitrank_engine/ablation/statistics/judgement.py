"""Judges the rankings of a job: p-values and verdicts, by cluster and over all clusters."""

from collections.abc import Callable, Collection, Hashable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from unitrank_engine.ablation.masks.tested import TestedCluster, TestedRanking
from unitrank_engine.ablation.statistics.family import over_clusters, place, standardised, step_down
from unitrank_engine.ablation.statistics.verdict import EPSILON, MIN_TESTED, Chance, chance, holm, verdict
from unitrank_schemas.results import Overall, Verdict

Key = TypeVar("Key", bound=Hashable)
"""Names a ranking among all rankings of a job."""
Tested = list[tuple[TestedCluster, TestedRanking]]
"""One ranking's test on each cluster."""


@dataclass(frozen=True)
class ClusterJudgement:
    """The p-values and the verdict of one ranking on one cluster."""

    chance: Chance | None
    """The place of its drop among the random orders; None where nothing is tested."""
    p_holm: float | None
    p_family: float | None
    verdict: Verdict
    area: float | None


def _ends(chance: Chance | None) -> tuple[float | None, float | None]:
    return (chance.p_value, chance.p_worse) if chance else (None, None)


@dataclass(frozen=True)
class Outcome:
    """A verdict, and the p-values that decide it."""

    verdict: Verdict
    better: float | None
    worse: float | None
    area: float | None


@dataclass(frozen=True)
class Judgement:
    """The judgement of one ranking."""

    clusters: list[ClusterJudgement]
    overall: Overall

    def outcomes(self) -> "dict[int | None, Outcome]":
        """Return the outcome of each cluster, and under the key None the overall one."""
        outcomes: dict[int | None, Outcome] = {
            number: Outcome(each.verdict, *_ends(each.chance), each.area) for number, each in enumerate(self.clusters)
        }
        overall = self.overall
        better, worse = overall.p_family, overall.p_family_worse
        if better is None:
            better, worse = overall.p_value, overall.p_worse
        return outcomes | {None: Outcome(overall.verdict, better, worse, overall.area)}


Decidable = Callable[[int], bool]
"""Takes a number of test examples; returns whether a test can be significant."""


@dataclass(frozen=True)
class RankingTest:
    """The test of one ranking. `decidable`: whether it can be significant."""

    tested: Tested
    decidable: Decidable


@dataclass(frozen=True)
class Judge:
    """Judges all rankings of a job.

    `level`: the confidence level.
    """

    level: float

    def of(self, tests: Mapping[Key, RankingTest], uncounted: Collection[Key]) -> dict[Key, Judgement]:
        """Return the judgement of each ranking.

        `uncounted`: the rankings `random`, which do not count as tests of the job.
        """
        sums = {key: _sums(test.tested) for key, test in tests.items()}
        counted = [key for key, values in sums.items() if values is not None and key not in uncounted]
        better, worse = {}, {}
        if counted:
            z = standardised(np.stack([values for key in counted if (values := sums[key]) is not None], axis=1))
            better, worse = (dict(zip(counted, step_down(each).tolist(), strict=True)) for each in (z, -z))
        return {
            key: Judgement(self._clusters(test), self._overall(test, sums[key], better.get(key), worse.get(key)))
            for key, test in tests.items()
        }

    def _clusters(self, test: RankingTest) -> list[ClusterJudgement]:
        tested = test.tested
        chances = [
            chance(cluster.drop(ranking.orders["most"]), cluster.drops(cluster.random)) if _is_tested(cluster, ranking) else None
            for cluster, ranking in tested
        ]
        corrected = self._holm(chances)
        family = _family(tested, chances)
        return [
            ClusterJudgement(
                chance=outcome,
                p_holm=p_holm,
                p_family=p_family,
                verdict=verdict(outcome, self.level) if outcome and test.decidable(cluster.examples) else "undecided",
                area=cluster.area(cluster.drop(ranking.orders["most"])) if _has_most(cluster, ranking) else None,
            )
            for (cluster, ranking), outcome, p_holm, p_family in zip(tested, chances, corrected, family, strict=True)
        ]

    def _holm(self, chances: list[Chance | None]) -> list[float | None]:
        """Return Holm's p-values; None where no value could be significant."""
        p_values = [outcome.p_value if outcome else None for outcome in chances]
        tests = sum(outcome is not None for outcome in chances)
        orders = max((outcome.orders for outcome in chances if outcome), default=0)
        return [None] * len(chances) if tests > orders * (1 - self.level) + EPSILON else holm(p_values)

    def _overall(self, test: RankingTest, sums: np.ndarray | None, better: float | None, worse: float | None) -> Overall:
        """`sums`: T of the ranking and its controls. `better`, `worse`: p-values of the family."""
        tested = test.tested
        outcome = place(sums) if sums is not None else None
        p_value, p_worse = _ends(outcome)
        drops = [(cluster, cluster.drop(ranking.orders["most"])) for cluster, ranking in tested if _has_most(cluster, ranking)]
        result: Verdict = "undecided"
        if outcome and test.decidable(sum(cluster.examples for cluster, ranking in tested if _is_tested(cluster, ranking))):
            decisive = outcome if better is None or worse is None else Chance(better, worse, outcome.orders)
            result = verdict(decisive, self.level)
        return Overall(
            p_value=p_value,
            p_worse=p_worse,
            p_family=better,
            p_family_worse=worse,
            area=pooled_area(drops),
            verdict=result,
        )


def pooled_area(drops: list[tuple[TestedCluster, float]]) -> float | None:
    """Return Σ D / Σ (S₀ − S_n) over the clusters with an area; None without such a cluster."""
    pairs = [(value, cluster.total) for cluster, value in drops if cluster.has_area]
    return sum(value for value, _ in pairs) / sum(total for _, total in pairs) if pairs else None


def _has_most(cluster: TestedCluster, ranking: TestedRanking) -> bool:
    return cluster.examples > 0 and "most" in ranking.orders and ranking.orders["most"].score.size > 0


def _is_tested(cluster: TestedCluster, ranking: TestedRanking) -> bool:
    """Whether the cluster counts in the test: equal scores give no order that can be tested."""
    return _has_most(cluster, ranking) and len(cluster.random.score) > 0 and ranking.ordered


def _drops(cluster: TestedCluster, ranking: TestedRanking) -> np.ndarray:
    """Return the drops of the ranking and of its controls, `[R + 1]`."""
    return np.concatenate([cluster.drops(ranking.orders["most"]), cluster.control_drops(ranking)])


def _sums(tested: Tested) -> np.ndarray | None:
    """Return T of the ranking and of its controls; None where no cluster is tested."""
    drops = [_drops(cluster, ranking) for cluster, ranking in tested if _is_tested(cluster, ranking)]
    return over_clusters(np.stack(drops, axis=1)) if drops else None


def _family(tested: Tested, chances: list[Chance | None]) -> list[float | None]:
    """Return each cluster's p-value, corrected for the number of clusters."""
    counted = [number for number, (cluster, _) in enumerate(tested) if chances[number] and cluster.examples >= MIN_TESTED]
    family: list[float | None] = [None] * len(tested)
    if counted:
        z = standardised(np.stack([_drops(*tested[number]) for number in counted], axis=1))
        for number, p in zip(counted, step_down(z).tolist(), strict=True):
            outcome = chances[number]
            assert outcome is not None
            family[number] = max(outcome.p_value, p)
    return family
