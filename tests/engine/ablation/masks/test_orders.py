"""Orders and counts after part 6 of the contract."""

import numpy as np
import pytest

from unitrank_engine.ablation.masks.orders import Orders
from unitrank_engine.job.random_streams import RandomStreams
from unitrank_schemas.jobs.ablation import Ablation


def orders(n: int, seed: int = 0) -> Orders:
    return Orders(n, RandomStreams.of(seed, "work"))


def units(positions: np.ndarray) -> list[int]:
    return np.argsort(positions).tolist()


@pytest.mark.parametrize(
    ("fractions", "n", "counts", "reported"),
    [
        # 0.29 · 100 is 28.999999999999996 and 0.57 · 100 is 56.99999999999999 in floats
        ([0.29, 0.57], 100, [29, 57], [0.29, 0.57]),
        ([0.1, 0.3, 0.7], 10, [1, 3, 7], [0.1, 0.3, 0.7]),
        # 108.16, 270.4, 540.8 and 1081.6 are rounded down
        ([0.01, 0.02, 0.05, 0.1, 0.2, 0.5], 5408, [54, 108, 270, 540, 1081, 2704], [0.01, 0.02, 0.05, 0.1, 0.2, 0.5]),
        # A fraction below one unit counts as one unit; equal counts appear once.
        ([0.01, 0.1, 0.25, 0.5], 4, [1, 2], [0.01, 0.5]),
        ([0.5, 0.1], 10, [1, 5], [0.1, 0.5]),
        # A count of all units is left out, because all orders are equal there.
        ([0.5, 1.0], 10, [5], [0.5]),
        ([1.0], 7, [], []),
        ([0.5], 1, [], []),
    ],
)
def test_counts_when_fractions_are_given_then_they_follow_the_definition(
    fractions: list[float], n: int, counts: list[int], reported: list[float]
) -> None:
    assert Ablation(fractions=fractions).counts_of(n) == dict(zip(counts, reported, strict=True))


def test_most_when_scores_differ_then_the_largest_signed_score_is_first() -> None:
    assert units(orders(4).most(np.array([0.5, -2.0, 0.0, 1.0]), "a")) == [3, 0, 2, 1]


def test_least_when_scores_differ_then_the_smallest_absolute_score_is_first() -> None:
    assert units(orders(4).least(np.array([0.5, -2.0, 0.0, 1.0]), "a")) == [2, 0, 3, 1]


def test_ties_when_all_scores_are_zero_then_no_unit_number_is_favoured() -> None:
    zeros = np.array([0.0, -0.0, 0.0, -0.0])
    first = [units(orders(4, seed).most(zeros, "a"))[0] for seed in range(400)]
    last = [units(orders(4, seed).least(zeros, "a"))[-1] for seed in range(400)]

    # Expected for each: 100 ± 8.7.
    assert np.bincount(first, minlength=4).min() > 65
    assert np.bincount(last, minlength=4).min() > 65


def test_ties_when_some_scores_are_equal_then_only_equal_scores_are_shuffled() -> None:
    importance = np.array([0.0, 5.0, 0.0, 0.0, -1.0])
    taken = {tuple(units(orders(5, seed).most(importance, "a"))) for seed in range(200)}

    assert {order[0] for order in taken} == {1}
    assert {order[-1] for order in taken} == {4}
    assert len(taken) == 6


def test_ties_when_drawn_twice_then_are_equal_for_a_cluster_and_differ_between_clusters() -> None:
    zeros = np.zeros(30)

    assert units(orders(30).most(zeros, "a")) == units(orders(30).most(zeros, "a"))
    assert units(orders(30).most(zeros, "a")) != units(orders(30).most(zeros, "b"))
    assert units(orders(30).most(zeros, "a")) != units(orders(30, seed=1).most(zeros, "a"))


def test_random_when_drawn_then_each_order_is_a_different_permutation() -> None:
    drawn = [orders(30).random(number).tolist() for number in range(50)]

    assert all(sorted(order) == list(range(30)) for order in drawn)
    assert len({tuple(order) for order in drawn}) == 50
    assert drawn[7] == orders(30).random(7).tolist()
    assert drawn[7] != orders(30, seed=1).random(7).tolist()
