"""How often an interval or a limit covers the truth.

- differences: two fixed rankings are compared on samples of a large set of examples. The truth is
  their difference on all examples.
- missed: `missed_at_most` for simulated effects of units, of which the truth is known.
- removable: `removable_at` for simulated shares of newly wrong examples. It is wrong where the true
  share at that count exceeds the tolerance.
"""

from collections.abc import Mapping

import numpy as np

from benchmarks.calibration import nets
from benchmarks.calibration.jobs import Data, Setup, job
from benchmarks.calibration.rates import LEVEL, Share
from benchmarks.calibration.scores import mixture
from unitrank_engine.ablation.exact.verify import missed_at_most
from unitrank_engine.ablation.statistics.comparisons import ClusterDrops, RankingDrops, comparisons
from unitrank_engine.ablation.statistics.per_example import ranking_drops
from unitrank_engine.ablation.statistics.removable import removable_at

POPULATION = 2000
"""Examples of each cluster from which samples are drawn."""
CLUSTERS = 3
COMPARED = Setup(
    nets.Weighted,
    Data(CLUSTERS, 2 * POPULATION),
    rankings=2,
    ablation={"orders": ["most", "keep"], "random": 0, "examples": POPULATION},
)


def population() -> list[RankingDrops]:
    """Return the drops of two rankings, one of true scores and one of noise, on all examples."""
    with job(COMPARED, 0) as prepared:
        random = np.random.default_rng(0)
        true, noise = (mixture(share)(prepared, random) for share in (1.0, 0.0))
        names = COMPARED.ids()
        tested = prepared.tested({names[0]: true[names[0]], names[1]: noise[names[1]]})
        return [
            ranking_drops(
                [(cluster, cluster.rankings[name]) for cluster in tested],
                ranking=name,
                method="given",
                target_class=None,
                verdict="better_than_random",
            )
            for name in names
        ]


def differences(examples: int, draws: int) -> dict[str, Share]:
    """Return how often `low` to `high` covers the true difference, by deletion and by keeping.

    `examples`: the number of test examples in each cluster.
    """
    rankings = population()
    (truth,) = comparisons(rankings, LEVEL)
    random = np.random.default_rng(examples)
    deleting, keeping = [], []
    for _ in range(draws):
        rows = [random.integers(POPULATION, size=examples) for _ in range(CLUSTERS)]
        (sampled,) = comparisons([_sample(ranking, rows) for ranking in rankings], LEVEL)
        deleting.append(_covers(sampled.low, truth.difference, sampled.high))
        keeping.append(_covers(sampled.keep_low, truth.keep_difference, sampled.keep_high))
    return {"covers the true `difference`": Share.of_flags(deleting), "covers the true `keep_difference`": Share.of_flags(keeping)}


def _covers(low: float | None, value: float | None, high: float | None) -> bool:
    assert low is not None
    assert value is not None
    assert high is not None
    return low <= value <= high


def _sample(ranking: RankingDrops, rows: list[np.ndarray]) -> RankingDrops:
    clusters = [
        ClusterDrops(
            total=float(cluster.all_replaced[chosen].mean()),
            all_replaced=cluster.all_replaced[chosen],
            by_example=cluster.by_example[chosen],
            loss_of_keeping=None if cluster.loss_of_keeping is None else cluster.loss_of_keeping[chosen],
            controls=cluster.controls,
        )
        for cluster, chosen in zip(ranking.clusters, rows, strict=True)
    ]
    return RankingDrops(ranking.id, ranking.method, ranking.target_class, ranking.verdict, clusters)


def missed(share: float, draws: int, *, units: int = 600, top: int = 20, sample: int = 200) -> dict[str, Share]:
    """Return how often `missed_at_most` is at least the number of missed units.

    Missed units are not among the highest 2 · top, and have a larger effect than the last unit of
    the true top.

    The effects have a normal distribution, cubed. The ranking's scores are share · effects
    + (1 − share) · noise.
    """
    random, covered = np.random.default_rng(round(100 * share)), []
    for _ in range(draws):
        effects = random.standard_normal(units) ** 3
        scores = share * effects / effects.std() + (1 - share) * random.standard_normal(units)
        order = np.argsort(-scores)
        highest, others = effects[order[: 2 * top]], effects[order[2 * top :]]
        exceeding = others > np.sort(highest)[-top]
        exceeding_in_sample = int(random.permutation(exceeding)[:sample].sum())
        limit = missed_at_most(exceeding_in_sample, population=len(others), sample=sample, level=LEVEL)
        covered.append(int(exceeding.sum()) <= limit)
    return {"at least the number missed": Share.of_flags(covered)}


def removable(examples: int, draws: int, *, tolerance: float = 0.01) -> dict[str, Share]:
    """Return how often the true share of newly wrong examples is at most `tolerance`.

    The true share rises by 0.2 % with each of ten counts. An example that is wrong at a count is
    wrong at all larger counts.
    """
    random, counts = np.random.default_rng(examples), np.arange(1, 11)
    shares: Mapping[int, float] = dict(zip(counts.tolist(), (0.002 * counts).tolist(), strict=True))
    right = []
    for _ in range(draws):
        level = random.random(examples)
        wrong = [int((level < share).sum()) for share in shares.values()]
        count = removable_at(list(shares), wrong, examples=examples, level=LEVEL, tolerance=tolerance)
        right.append(not count or shares[count] <= tolerance + 1e-12)
    return {"the true share is at most `tolerance`": Share.of_flags(right)}
