"""The verdict's arithmetic equals results computed by hand."""

from itertools import combinations, permutations

import numpy as np
import pytest

from unitrank_engine.ablation.statistics.verdict import area, chance, choices, drop, holm, undecided, verdict
from unitrank_schemas.results import Verdict


def test_drop_when_scores_fall_then_is_the_mean_distance_from_the_unaltered_score() -> None:
    # (1 + 3 + 8) / 3
    assert drop(10.0, np.array([9.0, 7.0, 2.0])) == 4.0
    assert drop(10.0, np.array([[9.0, 7.0, 2.0], [10.0, 11.0, 12.0]])).tolist() == [4.0, -1.0]


@pytest.mark.parametrize(
    ("value", "total", "magnitude", "expected"),
    [
        (4.0, 8.0, 10.0, 0.5),
        (-2.0, 8.0, 10.0, -0.25),
        # A total drop of exactly 0.05 · mean |F| is too small; any larger one counts.
        (4.0, 1.25, 25.0, None),
        (4.0, 1.25, 24.75, 3.2),
        (4.0, 0.0, 5.0, None),
        (4.0, -1.0, 5.0, None),
        # The mean of |F| counts, not |mean F|: it is large for examples of both signs.
        (0.05, 0.1, 10.0, None),
        (0.0, 0.0, 0.0, None),
        # A cluster without test examples has no means.
        (0.0, float("nan"), float("nan"), None),
    ],
)
def test_area_when_the_total_drop_is_small_or_negative_then_it_is_null(
    value: float, total: float, magnitude: float, expected: float | None
) -> None:
    assert area(value, total=total, magnitude=magnitude) == expected


def against(above: int, equal: int, below: int) -> np.ndarray:
    """Drops of random orders around 0."""
    return np.array([1.0] * above + [0.0] * equal + [-1.0] * below)


@pytest.mark.parametrize(
    ("random", "level", "p_value", "p_worse", "expected"),
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
    random: np.ndarray, level: float, p_value: float, p_worse: float, expected: Verdict
) -> None:
    place = chance(0.0, random)

    assert (place.p_value, place.p_worse, place.orders) == (p_value, p_worse, len(random) + 1)
    assert verdict(place, level) == expected


@pytest.mark.parametrize(
    ("random", "level", "least"),
    [
        (18, 0.95, 19),
        (19, 0.95, None),
        (98, 0.99, 99),
        (99, 0.99, None),
        (8, 0.9, 9),
        (9, 0.9, None),
        (0, 0.5, 1),
        (1, 0.5, None),
    ],
)
def test_undecided_when_random_orders_are_few_then_says_how_many_are_enough(random: int, level: float, least: int | None) -> None:
    reason = undecided(100, [10, 50], random, level, 10)

    if least is None:
        assert reason is None
    else:
        assert reason is not None
        assert reason.startswith(f"{random} random orders are too few for the level {level:g}")
        assert reason.endswith(f"use at least {least}")


@pytest.mark.parametrize(
    ("n", "counts", "level", "ways"),
    [
        (19, [1], 0.95, 19),
        (20, [1], 0.95, None),
        (4, [1, 2], 0.95, 12),  # 4 · 3
        (4, [1, 2, 3], 0.95, None),  # 4 · 3 · 2
        (6, [3], 0.95, None),  # 20
        (5, [2], 0.9, None),  # 10
        (9, [8], 0.9, 9),
        (4000, [400, 2000], 0.95, None),
    ],
)
def test_undecided_when_units_can_be_chosen_in_few_ways_then_says_how_many(
    n: int, counts: list[int], level: float, ways: int | None
) -> None:
    reason = undecided(n, counts, 99, level, 10)

    if ways is None:
        assert reason is None
    else:
        assert reason is not None
        assert reason.startswith(f"{n} units can be replaced in {ways} ways only")


@pytest.mark.parametrize(("tests", "enough"), [(0, False), (1, False), (2, True)])
def test_undecided_when_test_examples_are_few_then_needs_two(tests: int, enough: bool) -> None:
    reason = undecided(100, [10], 99, 0.95, tests)

    assert (reason is None) is enough
    assert enough or "2 are needed; use larger clusters" in str(reason)


def test_undecided_when_there_are_no_counts_then_asks_for_larger_fractions() -> None:
    assert "use larger `fractions`" in str(undecided(1, [], 99, 0.95, 10))


@pytest.mark.parametrize(("n", "counts"), [(5, [1, 3]), (5, [2]), (6, [1, 2, 5]), (4, [1, 2, 3])])
def test_choices_when_counted_one_by_one_then_they_are_as_many(n: int, counts: list[int]) -> None:
    distinct = {tuple(frozenset(order[:count]) for count in counts) for order in permutations(range(n))}

    assert choices(n, counts, 1e9) == len(distinct)
    assert len(set(combinations(range(n), counts[0]))) == choices(n, counts[:1], 1e9)


def test_holm_when_clusters_are_many_then_the_smallest_p_is_multiplied_by_their_number() -> None:
    # 3 · 0.01; 2 · 0.03; 0.04, raised to the previous corrected value.
    assert holm([0.01, 0.04, None, 0.03]) == pytest.approx([0.03, 0.06, None, 0.06])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([0.02]) == [0.02]
    assert holm([None, None]) == [None, None]


def test_choices_when_the_layer_is_large_then_counting_stops_once_there_are_enough() -> None:
    # The exact number of ways has 241 667 digits.
    assert 20 < choices(802_816, [401_408], 20) <= 20 * 802_816
