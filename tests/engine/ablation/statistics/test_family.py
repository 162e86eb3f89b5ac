"""Sums over clusters, and corrections for several tests, equal results computed by hand."""

import numpy as np
import pytest
from scipy import stats

from unitrank_engine.ablation.statistics.family import over_clusters, place, standardised, step_down
from unitrank_engine.ablation.statistics.verdict import verdict

# The ranking is the first row. In the first cluster, the drops 4 | 0 0 0 have mean 1 and deviation
# √3; in the second, 1 | 3 1 −1 have mean 1 and deviation √2. Standardised, they are
# √3 | −1/√3 … and 0 | √2 0 −√2, and their sums are 1.73 | 0.84 −0.58 −1.99.
DROPS = np.array([[4.0, 1.0], [0.0, 3.0], [0.0, 1.0], [0.0, -1.0]])


def test_standardised_when_drops_differ_then_each_column_is_scipys_z_score() -> None:
    drops = np.random.default_rng(0).normal(5.0, 3.0, (20, 4))

    np.testing.assert_allclose(standardised(drops), stats.zscore(drops, axis=0), rtol=1e-12)


@pytest.mark.parametrize(("difference", "flat"), [(1e-13, True), (1e-11, False)])
def test_standardised_when_drops_differ_by_rounding_only_then_they_are_0(difference: float, flat: bool) -> None:
    # Half of the drops are larger, so the deviation is half of the difference.
    drops = 8.0 * (1 + 2 * difference * np.array([0.0, 1.0, 0.0, 1.0])[:, None])

    assert bool((standardised(drops) == 0).all()) is flat


def test_overall_when_clusters_are_summed_then_the_rank_of_the_sum_gives_p() -> None:
    outcome = place(over_clusters(DROPS))

    np.testing.assert_allclose(over_clusters(DROPS), [3**0.5, 2**0.5 - 3**-0.5, -(3**-0.5), -(3**-0.5) - 2**0.5], rtol=1e-12)
    assert (outcome.p_value, outcome.p_worse, outcome.orders) == (0.25, 1.0, 4)
    assert verdict(outcome, 0.75) == "better_than_random"


def test_overall_when_one_cluster_has_larger_scores_then_it_has_no_larger_say() -> None:
    # Without standardising, 0 + 3000 would beat 4 + 1000.
    assert place(over_clusters(DROPS * [1.0, 1000.0])) == place(over_clusters(DROPS))


def test_overall_when_a_cluster_has_no_differences_then_the_cluster_does_not_count() -> None:
    flat = np.column_stack([DROPS, np.full(4, 7.0)])

    assert over_clusters(flat).tolist() == over_clusters(DROPS).tolist()


def test_overall_when_no_drops_differ_then_is_no_better_than_random() -> None:
    outcome = place(over_clusters(np.full((20, 2), 7.1)))

    assert (outcome.p_value, outcome.p_worse) == (1.0, 1.0)
    assert verdict(outcome, 0.95) == "no_better_than_random"


def test_overall_when_a_control_ties_in_every_cluster_then_it_counts_on_both_sides() -> None:
    controls = np.random.default_rng(0).standard_normal((40, 7))
    outcome = place(over_clusters(np.vstack([controls[11], controls])))

    # Each of the 40 controls counts on one side; the tied control and the ranking count on both.
    assert outcome.p_value + outcome.p_worse == pytest.approx((40 + 1 + 2) / 41)


def plain_step_down(z: np.ndarray) -> list[float]:
    """The definition, number by number."""
    controls = len(z) - 1
    descending = sorted(range(z.shape[1]), key=lambda test: -z[0, test])
    corrected, before = {}, 0.0
    for position, test in enumerate(descending):
        rest = descending[position:]
        as_large = sum(max(z[row, other] for other in rest) >= z[0, test] for row in range(1, controls + 1))
        before = max(before, (1 + as_large) / (controls + 1))
        corrected[test] = before
    return [corrected[test] for test in range(z.shape[1])]


@pytest.mark.parametrize("tests", [1, 2, 5, 10])
@pytest.mark.parametrize("decimals", [1, 9])
def test_step_down_when_compared_with_the_plain_definition_then_all_p_values_agree(tests: int, decimals: int) -> None:
    # With one decimal, many values tie.
    for seed in range(20):
        z = np.random.default_rng(seed).normal(0.0, 1.0, (30, tests)).round(decimals)
        z[0] += np.linspace(0, 2, tests).round(decimals)

        assert step_down(z).tolist() == plain_step_down(z)


def test_step_down_when_there_is_one_test_then_it_is_the_p_value() -> None:
    z = np.random.default_rng(3).standard_normal((50, 1))

    assert step_down(z).tolist() == [place(z[:, 0]).p_value]


def test_step_down_when_all_tests_are_equal_then_the_correction_costs_nothing() -> None:
    z = np.repeat(np.random.default_rng(4).standard_normal((40, 1)), 6, axis=1)

    assert step_down(z).tolist() == [place(z[:, 0]).p_value] * 6


def test_step_down_when_a_test_is_flat_then_no_other_p_value_is_lower_and_its_own_is_1() -> None:
    z = np.column_stack([np.r_[2.0, np.linspace(-1, 1, 19)], np.zeros(20)])

    assert step_down(z).tolist() == [0.05, 1.0]


def test_step_down_when_tests_are_independent_noise_then_a_job_seldom_has_a_small_p() -> None:
    rng = np.random.default_rng(5)
    smallest = np.array([step_down(rng.standard_normal((20, 8))).min() for _ in range(2000)])

    # Expected: 100 ± 9.7 of 2000 jobs. Without correction, 1 − 0.95⁸ = 34 % would be expected.
    assert (smallest <= 0.05).sum() <= 130
