"""Counts how often a regime's verdicts say better, and puts an interval around each share."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from math import sqrt

import numpy as np
from scipy import stats

from benchmarks.calibration.jobs import Job, Setup, job
from benchmarks.calibration.scores import Make, independent
from unitrank_engine.ablation.study import RankingStudy, StudyOutcome

LEVEL = 0.95
SIGNIFICANT = 1 - LEVEL + 1e-9
"""A p-value is significant up to here; the allowance is for rounding."""
ALONE = 5
"""Rankings of a job whose rankings are judged alone: they share the job's random orders."""
SCORES = 1
"""Separates the random numbers of a seed's scores from those of its examples."""


@dataclass(frozen=True)
class Share:
    """`count` of `of` trials."""

    count: int
    of: int

    @property
    def value(self) -> float:
        return self.count / self.of

    def interval(self, level: float = LEVEL) -> tuple[float, float]:
        """Return the Clopper–Pearson interval.

        >>> low, high = Share(0, 100).interval()
        >>> low, round(high, 4)
        (0.0, 0.0362)
        """
        tail, rest = (1 - level) / 2, self.of - self.count
        low = float(stats.beta.ppf(tail, self.count, rest + 1)) if self.count else 0.0
        high = float(stats.beta.ppf(1 - tail, self.count + 1, rest)) if rest else 1.0
        return low, high

    @classmethod
    def of_flags(cls, flags: list[bool]) -> "Share":
        return cls(sum(flags), len(flags))


def limit(trials: int) -> float:
    """Return 5 % + 3 standard errors: a calibrated share of `trials` is seldom larger.

    >>> round(limit(1000), 4)
    0.0707
    """
    return 1 - LEVEL + 3 * sqrt(LEVEL * (1 - LEVEL) / trials)


@dataclass(frozen=True)
class Regime:
    """Jobs of one kind, and how their scores are made.

    `alone`: whether each ranking is judged as if it were the only one of its job. Its overall
        p-value is then not corrected for the number of rankings.
    `true`: number of rankings, from the last one, whose scores are true; they are not counted.
    `jobs`: number of jobs.
    """

    title: str
    setup: Setup = field(default_factory=lambda: Setup(rankings=ALONE))
    scores: Make = independent
    alone: bool = True
    true: int = 0
    jobs: int = 200


def outcomes(regime: Regime, jobs: int) -> Iterator[tuple[Job, StudyOutcome]]:
    """Yield each job with the outcome of its study."""
    for seed in range(jobs):
        with job(regime.setup, seed) as prepared:
            yield prepared, prepared.study(regime.scores(prepared, np.random.default_rng([seed, SCORES])))


def rates(regime: Regime, jobs: int) -> dict[str, Share]:
    """Return the shares over this number of jobs.

    - better, worse: jobs with a ranking whose overall verdict says so. Each ranking that is judged
      alone counts as a job.
    - family: rankings that are better in some cluster by that cluster's p_family.
    - cluster: verdicts on single clusters that are better.
    """
    better, worse, family, cluster = [], [], [], []
    for _, outcome in outcomes(regime, jobs):
        studies = list(outcome.rankings.values())[: regime.setup.rankings - regime.true]
        if regime.alone:
            better += [significant(study.overall.p_value) for study in studies]
            worse += [significant(study.overall.p_worse) for study in studies]
        else:
            better.append(any(study.overall.verdict == "better_than_random" for study in studies))
            worse.append(any(study.overall.verdict == "worse_than_random" for study in studies))
        family += [any(significant(result.p_family) for result in study.clusters) for study in studies]
        cluster += [result.verdict == "better_than_random" for study in studies for result in study.clusters]
    flags = {"better": better, "worse": worse, "family": family, "cluster": cluster}
    return {name: Share.of_flags(each) for name, each in flags.items()}


def significant(p: float | None) -> bool:
    return p is not None and p <= SIGNIFICANT


def doubted(regime: Regime, jobs: int) -> dict[str, Share]:
    """Return how often a better ranking has the doubt `varies_between_examples`, and has not."""
    studies: list[RankingStudy] = [each for _, outcome in outcomes(regime, jobs) for each in outcome.rankings.values()]
    better = [significant(each.overall.p_value) for each in studies]
    lasting = [is_better and significant(each.p_other_examples) for is_better, each in zip(better, studies, strict=True)]
    return {"better overall": Share.of_flags(better), "better overall without `varies_between_examples`": Share.of_flags(lasting)}


def of_orders(regime: Regime, jobs: int) -> dict[str, Share]:
    """Return how often the orders `keep` and `least` of single clusters have p ≤ 5 %."""
    results = [result for _, outcome in outcomes(regime, jobs) for study in outcome.rankings.values() for result in study.clusters]
    keep = [significant(result.keep.p_value) for result in results if result.keep]
    least = [significant(result.least.p_value) for result in results if result.least]
    return {"`keep.p_value` ≤ 0.05": Share.of_flags(keep), "`least.p_value` ≤ 0.05": Share.of_flags(least)}


def specific(regime: Regime, jobs: int) -> dict[str, Share]:
    """Return how often a ranking's specificity has p ≤ 5 %, where it has a p."""
    studies: list[RankingStudy] = [each for _, outcome in outcomes(regime, jobs) for each in outcome.rankings.values()]
    p_values = [each.specificity.overall_p_value for each in studies if each.specificity]
    return {"`overall_p_value` ≤ 0.05": Share.of_flags([significant(p) for p in p_values if p is not None])}


def ahead(regime: Regime, jobs: int) -> dict[str, Share]:
    """Return how often one of a job's two rankings is ahead, where they can be compared."""
    pairs = [pair for _, outcome in outcomes(regime, jobs) for pair in outcome.comparisons if pair.difference is not None]
    return {
        "`ahead` is not null": Share.of_flags([pair.ahead is not None for pair in pairs]),
        "`keep_ahead` is not null": Share.of_flags([pair.keep_ahead is not None for pair in pairs]),
    }
