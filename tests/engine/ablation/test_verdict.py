"""The verdict's arithmetic equals results computed by hand."""

from itertools import combinations, permutations

import numpy as np
import pytest

from unitrank_engine.ablation.verdict import area, chance, choices, decidable, drop, holm, overall


def test_drop_when_scores_fall_then_is_the_mean_distance_from_the_unaltered_score() -> None:
    # (1 + 3 + 8) / 3
    assert drop(10.0, np.array([9.0, 7.0, 2.0])) == 4.0
    assert drop(10.0, np.array([[9.0, 7.0, 2.0], [10.0, 11.0, 12.0]])).tolist() == [4.0, -1.0]


@pytest.mark.parametrize(
    ("value", "intact", "all_replaced", "magnitude", "expected"),
    [
        (4.0, 10.0, 2.0, 10.0, 0.5),
        (-2.0, 10.0, 2.0, 10.0, -0.25),
        # A total drop of exactly 0.01 · mean |F| is too small; any larger one counts.
        (4.0, 0.25, 0.0, 25.0, None),
        (4.0, 0.25, 0.0, 24.75, 16.0),
        (4.0, 5.0, 5.0, 5.0, None),
        (4.0, 5.0, 6.0, 5.0, None),
        # The mean of |F| counts, not |mean F|: it is large for examples of both signs.
        (0.05, 0.0, -0.1, 10.0, None),
        (0.0, 0.0, 0.0, 0.0, None),
    ],
)
def test_area_when_the_total_drop_is_small_or_negative_then_it_is_null(
    value: float, intact: float, all_replaced: float, magnitude: float, expected: float | None
) -> None:
    assert area(value, intact=intact, all_replaced=all_replaced, magnitude=magnitude) == expected


def against(above: int, equal: int, below: int) -> np.ndarray:
    """Drops of random orders around 0."""
    return np.array([1.0] * above + [0.0] * equal + [-1.0] * below)


@pytest.mark.parametrize(
    ("random", "level", "p_value", "p_worse", "verdict"),
    [
        (against(0, 0, 18), 0.95, 1 / 19, 1.0, "no_better_than_random"),
        (against(0, 0, 19), 0.95, 1 / 20, 1.0, "better_than_random"),
        (against(1, 0, 18), 0.95, 2 / 20, 19 / 20, "no_better_than_random"),
        (against(4, 0, 95), 0.95, 5 / 100, 96 / 100, "better_than_random"),
        (against(5, 0, 94), 0.95, 6 / 100, 95 / 100, "no_better_than_random"),
        # ties count against the ranking on both sides
        (against(0, 4, 95), 0.95, 5 / 100, 1.0, "better_than_random"),
        (against(2, 3, 94), 0.95, 6 / 100, 98 / 100, "no_better_than_random"),
        (against(0, 99, 0), 0.95, 1.0, 1.0, "no_better_than_random"),
        (against(19, 0, 0), 0.95, 1.0, 1 / 20, "worse_than_random"),
        (against(95, 4, 0), 0.95, 1.0, 5 / 100, "worse_than_random"),
        (against(94, 5, 0), 0.95, 1.0, 6 / 100, "no_better_than_random"),
        # (1 − 0.99) · 100 and (1 − 0.9) · 10 are not 1 in floats
        (against(0, 0, 99), 0.99, 1 / 100, 1.0, "better_than_random"),
        (against(1, 0, 98), 0.99, 2 / 100, 99 / 100, "no_better_than_random"),
        (against(0, 0, 9), 0.9, 1 / 10, 1.0, "better_than_random"),
        (against(9, 0, 90), 0.9, 10 / 100, 91 / 100, "better_than_random"),
    ],
)
def test_chance_when_the_drop_has_a_rank_then_p_and_verdict_follow(
    random: np.ndarray, level: float, p_value: float, p_worse: float, verdict: str
) -> None:
    overall_result = chance(0.0, random, level)

    assert (overall_result.p_value, overall_result.p_worse, overall_result.verdict) == (p_value, p_worse, verdict)


@pytest.mark.parametrize(
    ("random", "level", "enough"),
    [
        (18, 0.95, False),
        (19, 0.95, True),
        (98, 0.99, False),
        (99, 0.99, True),
        (8, 0.9, False),
        (9, 0.9, True),
        (0, 0.5, False),
        (1, 0.5, True),
    ],
)
def test_decidable_when_random_orders_are_few_then_is_false(random: int, level: float, enough: bool) -> None:
    assert decidable(100, [10, 50], random, level, 10) is enough


@pytest.mark.parametrize(
    ("n", "counts", "level", "enough"),
    [
        (19, [1], 0.95, False),
        (20, [1], 0.95, True),
        (4, [1, 2], 0.95, False),  # 4 · 3
        (4, [1, 2, 3], 0.95, True),  # 4 · 3 · 2
        (6, [3], 0.95, True),  # 20
        (5, [2], 0.9, True),  # 10
        (9, [8], 0.9, False),
        (4000, [400, 2000], 0.95, True),
    ],
)
def test_decidable_when_units_can_be_chosen_in_few_ways_then_is_false(
    n: int, counts: list[int], level: float, enough: bool
) -> None:
    assert decidable(n, counts, 99, level, 10) is enough


@pytest.mark.parametrize(("tests", "enough"), [(0, False), (1, False), (2, True)])
def test_decidable_when_test_examples_are_few_then_needs_two(tests: int, enough: bool) -> None:
    assert decidable(100, [10], 99, 0.95, tests) is enough


def test_decidable_when_there_are_no_counts_then_is_false() -> None:
    assert not decidable(1, [], 99, 0.95, 10)


@pytest.mark.parametrize(("n", "counts"), [(5, [1, 3]), (5, [2]), (6, [1, 2, 5]), (4, [1, 2, 3])])
def test_choices_when_counted_one_by_one_then_they_are_as_many(n: int, counts: list[int]) -> None:
    distinct = {tuple(frozenset(order[:count]) for count in counts) for order in permutations(range(n))}

    assert choices(n, counts, 1e9) == len(distinct)
    assert len(set(combinations(range(n), counts[0]))) == choices(n, counts[:1], 1e9)


# In the first cluster, the drops 4 | 0 0 0 have mean 1 and deviation √3; in the second,
# 1 | 3 1 −1 have mean 1 and deviation √2. Standardised, they are √3 | −1/√3 … and 0 | √2 0 −√2, and
# their sums are 1.73 | 0.84 −0.58 −1.99.
OWN, RANDOM = np.array([4.0, 1.0]), np.array([[0.0, 0.0, 0.0], [3.0, 1.0, -1.0]])


def test_overall_when_clusters_are_summed_then_the_rank_of_the_sum_gives_p() -> None:
    overall_result = overall(OWN, RANDOM, 0.75)

    assert (overall_result.p_value, overall_result.p_worse, overall_result.verdict) == (0.25, 1.0, "better_than_random")


def test_overall_when_one_cluster_has_larger_scores_then_it_has_no_larger_say() -> None:
    # Without standardising, 0 + 3000 would beat 4 + 1000.
    scale = np.array([[1.0], [1000.0]])

    assert overall(OWN * scale[:, 0], RANDOM * scale, 0.75) == overall(OWN, RANDOM, 0.75)


def test_overall_when_a_cluster_has_no_differences_then_the_cluster_does_not_count() -> None:
    flat = overall(np.append(OWN, 7.0), np.vstack([RANDOM, [7.0, 7.0, 7.0]]), 0.75)

    assert flat == overall(OWN, RANDOM, 0.75)


def test_overall_when_no_drops_differ_then_is_no_better_than_random() -> None:
    overall_result = overall(np.full(2, 7.1), np.full((2, 19), 7.1), 0.95)

    assert (overall_result.p_value, overall_result.p_worse, overall_result.verdict) == (1.0, 1.0, "no_better_than_random")


def test_overall_when_an_order_ties_in_every_cluster_then_it_counts_on_both_sides() -> None:
    rng = np.random.default_rng(0)
    random = rng.standard_normal((7, 40))
    overall_result = overall(random[:, 11].copy(), random, 0.95)

    # Each of the 40 orders counts on one side; the tied order and the ranking count on both.
    assert overall_result.p_value + overall_result.p_worse == pytest.approx((40 + 1 + 2) / 41)


def test_holm_when_clusters_are_many_then_the_smallest_p_is_multiplied_by_their_number() -> None:
    # 3 · 0.01; 2 · 0.03; 0.04, raised to the previous corrected value.
    assert holm([0.01, 0.04, None, 0.03]) == pytest.approx([0.03, 0.06, None, 0.06])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([0.02]) == [0.02]
    assert holm([None, None]) == [None, None]


def test_choices_when_the_layer_is_large_then_counting_stops_once_there_are_enough() -> None:
    # The exact number of ways has 241 667 digits.
    assert 20 < choices(802_816, [401_408], 20) <= 20 * 802_816
