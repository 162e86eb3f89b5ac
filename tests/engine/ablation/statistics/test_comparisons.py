"""Comparisons equal scipy's paired t interval, a plain re-implementation, and their coverage."""

from statistics import mean, variance

import numpy as np
import pytest
from scipy import stats

from unitrank_engine.ablation.statistics.comparisons import ClusterDrops, RankingDrops, Ratio, comparisons, interval, ties_with
from unitrank_schemas.results import Comparison, Verdict

LEVEL = 0.95


def cluster(
    drops: np.ndarray,
    all_replaced: np.ndarray,
    *,
    loss: np.ndarray | None = None,
    controls: np.ndarray | None = None,
    has_area: bool = True,
) -> ClusterDrops:
    return ClusterDrops(
        total=float(all_replaced.mean()) if has_area else None,
        all_replaced=all_replaced,
        by_example=drops,
        loss_of_keeping=loss,
        controls=np.zeros(19) if controls is None else controls,
    )


def ranking(
    name: str,
    *clusters: ClusterDrops,
    verdict: Verdict = "better_than_random",
    method: str = "gradient",
    target_class: int | None = None,
) -> RankingDrops:
    return RankingDrops(name, method, target_class, verdict, clusters)


def random_rankings(seed: int = 0, sizes: tuple[int, ...] = (7, 4, 12)) -> tuple[RankingDrops, RankingDrops]:
    """Two rankings on the same clusters, with other totals in each example."""
    rng = np.random.default_rng(seed)
    totals = [rng.uniform(2.0, 6.0, size) for size in sizes]
    a, b = (
        ranking(name, *(cluster(rng.normal(1.0, 1.0, len(t)), t, loss=rng.normal(0.5, 0.3, len(t))) for t in totals))
        for name in "ab"
    )
    return a, b


def compare(a: RankingDrops, b: RankingDrops) -> Comparison:
    (result,) = comparisons([a, b], LEVEL)
    return result


def values(result: Comparison) -> list[float]:
    """The six numbers of a comparison; NaN for null."""
    numbers = [result.difference, result.low, result.high, result.keep_difference, result.keep_low, result.keep_high]
    return [np.nan if number is None else number for number in numbers]


def test_comparison_when_one_cluster_has_equal_totals_then_it_is_scipys_paired_t_interval() -> None:
    rng = np.random.default_rng(1)
    of_a, of_b, total = rng.normal(2.0, 1.0, 9), rng.normal(1.0, 1.0, 9), np.full(9, 4.0)

    result = compare(ranking("a", cluster(of_a, total, loss=of_b)), ranking("b", cluster(of_b, total, loss=of_a)))

    expected = stats.ttest_rel(of_a / 4.0, of_b / 4.0).confidence_interval(LEVEL)
    assert result.difference == pytest.approx((of_a - of_b).mean() / 4.0, rel=1e-12)
    assert (result.low, result.high) == pytest.approx((expected.low, expected.high), rel=1e-12)
    # A smaller loss is better, so the losses were exchanged above.
    assert (result.keep_difference, result.keep_low, result.keep_high) == pytest.approx(
        (result.difference, result.low, result.high), rel=1e-12
    )


def plain_interval(clusters: list[tuple[list[float], list[float]]], level: float) -> tuple[float, float, float]:
    """Return the stratified interval, from each cluster's differences and totals."""
    means, spread, freedom = [], 0.0, 0
    for differences, totals in clusters:
        total = mean(totals)
        d = [difference / total for difference in differences]
        residuals = [each - mean(d) * t / total for each, t in zip(d, totals, strict=True)]
        means.append(mean(d))
        spread += variance(residuals) / len(d)
        freedom += len(d) - 1
    half_width = stats.t.ppf((1 + level) / 2, freedom) * spread**0.5 / len(clusters)
    return mean(means), mean(means) - half_width, mean(means) + half_width


@pytest.mark.parametrize("level", [0.8, 0.95, 0.99])
def test_comparison_when_totals_differ_then_it_equals_a_plain_computation(level: float) -> None:
    a, b = random_rankings()
    differences = [
        ((x.by_example - y.by_example).tolist(), x.all_replaced.tolist()) for x, y in zip(a.clusters, b.clusters, strict=True)
    ]
    losses = [
        ((y.loss_of_keeping - x.loss_of_keeping).tolist(), x.all_replaced.tolist())
        for x, y in zip(a.clusters, b.clusters, strict=True)
        if x.loss_of_keeping is not None and y.loss_of_keeping is not None
    ]

    (result,) = comparisons([a, b], level)

    assert (result.difference, result.low, result.high) == pytest.approx(plain_interval(differences, level), rel=1e-12)
    assert (result.keep_difference, result.keep_low, result.keep_high) == pytest.approx(plain_interval(losses, level), rel=1e-12)


def test_comparison_when_both_rankings_are_equal_then_the_difference_and_its_interval_are_0() -> None:
    a, _ = random_rankings()

    result = compare(a, ranking("again", *a.clusters))

    assert (result.difference, result.low, result.high) == (0.0, 0.0, 0.0)
    assert (result.keep_difference, result.keep_low, result.keep_high) == (0.0, 0.0, 0.0)
    assert (result.ahead, result.keep_ahead) == (None, None)


def test_comparison_when_the_rankings_are_exchanged_then_all_signs_change() -> None:
    a, b = random_rankings()
    one, other = compare(a, b), compare(b, a)

    assert one.difference != 0.0
    assert values(other) == [-values(one)[index] for index in (0, 2, 1, 3, 5, 4)]
    swapped = {"a": "b", "b": "a", None: None}
    assert (swapped[other.ahead], swapped[other.keep_ahead]) == (one.ahead, one.keep_ahead)


def test_interval_when_samples_are_drawn_again_and_again_then_it_covers_the_true_ratio() -> None:
    rng = np.random.default_rng(3)
    covered = 0
    for _ in range(400):
        ratios = []
        for true_ratio in (0.1, 0.3):
            totals = rng.normal(4.0, 1.0, 6)
            # The differences grow with the totals: deviations from their mean would be too wide.
            values = true_ratio * totals + rng.normal(0.0, 0.2, 6)
            ratios.append(Ratio(values, totals, float(totals.mean())))
        result = interval(ratios, LEVEL)
        covered += result.low <= 0.2 <= result.high

    # 95 % ± 3 standard errors of 400 draws, and of a t interval with ten degrees of freedom.
    assert 0.917 <= covered / 400 <= 0.983


def test_comparison_when_clusters_have_no_area_or_one_example_then_they_are_left_out() -> None:
    rng = np.random.default_rng(4)
    total = np.array([4.0, 5.0, 3.0])
    rankings = [
        ranking(
            name,
            cluster(rng.normal(1.0, 1.0, 3), total),
            cluster(rng.normal(9.0, 1.0, 3), total, has_area=False),
            cluster(np.array([7.0]), np.array([2.0])),
            cluster(np.zeros(0), np.zeros(0), has_area=False),
        )
        for name in "ab"
    ]
    alone = [ranking(each.id, each.clusters[0]) for each in rankings]

    assert compare(*rankings) == compare(*alone)


def test_comparison_when_no_cluster_is_left_then_all_values_are_null() -> None:
    one = cluster(np.array([1.0]), np.array([2.0]))

    assert compare(ranking("a", one), ranking("b", one)) == Comparison(a="a", b="b")


def test_comparison_when_a_ranking_has_no_order_keep_then_the_keep_fields_alone_are_null() -> None:
    a, b = random_rankings()
    without = ranking("b", *(cluster(each.by_example, each.all_replaced) for each in b.clusters))

    result = compare(a, without)

    assert (result.keep_difference, result.keep_low, result.keep_high, result.keep_ahead) == (None, None, None, None)
    assert (result.difference, result.low, result.high) == (compare(a, b).difference, compare(a, b).low, compare(a, b).high)


ALTERNATING = np.array([1.0, -1.0] * 10)
"""Controls with mean 0 and standard deviation 1."""


def leading(lead: float, *, noise: float, verdict: Verdict = "better_than_random") -> RankingDrops:
    """A ranking whose D is `lead` in each of two clusters with totals 4 and 2."""
    clusters = [cluster(np.full(3, lead * total), np.full(3, total), controls=ALTERNATING * noise * total) for total in (4.0, 2.0)]
    return ranking(f"leads by {lead}", *clusters, verdict=verdict)


@pytest.mark.parametrize(
    ("lead", "noise", "verdict", "ahead"),
    [
        (0.5, 0.499, "better_than_random", "a"),
        (0.5, 0.501, "better_than_random", None),
        (0.5, 0.0, "no_better_than_random", None),
        (0.5, 0.0, "undecided", None),
        (-0.5, 0.0, "better_than_random", None),
    ],
)
def test_ahead_when_the_lead_exceeds_the_leaders_noise_then_it_names_a_ranking_that_is_better(
    lead: float, noise: float, verdict: Verdict, ahead: str | None
) -> None:
    leader, other = leading(lead, noise=noise, verdict=verdict), leading(0.0, noise=9.0, verdict="undecided")

    assert compare(leader, other).ahead == ahead
    assert compare(other, leader).ahead == ({"a": "b"}[ahead] if ahead else None)


def test_ahead_when_controls_of_two_clusters_cancel_then_the_noise_is_that_of_their_mean() -> None:
    opposite = [
        cluster(np.full(3, 2.0), np.full(3, 4.0), controls=ALTERNATING * 100),
        cluster(np.full(3, 2.0), np.full(3, 4.0), controls=-ALTERNATING * 100),
    ]
    other = [cluster(np.zeros(3), np.full(3, 4.0)) for _ in range(2)]

    assert compare(ranking("a", *opposite), ranking("b", *other)).ahead == "a"


def test_keep_ahead_when_a_ranking_loses_less_then_the_noise_of_the_controls_does_not_count() -> None:
    total = np.full(3, 4.0)
    small = ranking("small", cluster(np.zeros(3), total, loss=np.full(3, 1.0), controls=ALTERNATING * 100))
    large = ranking("large", cluster(np.zeros(3), total, loss=np.full(3, 2.0)))

    assert (compare(small, large).keep_difference, compare(small, large).keep_ahead) == (0.25, "a")
    assert (compare(large, small).keep_difference, compare(large, small).keep_ahead) == (-0.25, "b")


def test_comparisons_when_rankings_are_random_or_of_other_classes_then_those_pairs_are_left_out() -> None:
    (of_cluster,) = random_rankings(sizes=(5,))[0].clusters
    rankings = [
        ranking("a@0", of_cluster, target_class=0),
        ranking("a@1", of_cluster, target_class=1),
        ranking("noise@0", of_cluster, target_class=0, method="random"),
        ranking("b@0", of_cluster, target_class=0),
        ranking("b@1", of_cluster, target_class=1),
    ]

    assert [(pair.a, pair.b) for pair in comparisons(rankings, LEVEL)] == [("a@0", "b@0"), ("a@1", "b@1")]


def test_ties_with_when_no_ranking_of_a_pair_is_ahead_then_each_names_the_other() -> None:
    best, second = leading(0.5, noise=0.2), leading(0.4, noise=0.2)
    pairs = comparisons([best, second, leading(0.0, noise=0.1, verdict="undecided")], LEVEL)

    assert ties_with(pairs, "leads by 0.5") == ["leads by 0.4"]
    assert ties_with(pairs, "leads by 0.4") == ["leads by 0.5"]
    assert ties_with(pairs, "leads by 0.0") == []
    assert ties_with(pairs, "a ranking without comparisons") == []
