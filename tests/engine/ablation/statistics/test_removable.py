"""`removable_at` equals a search over binomial tails."""

import pytest
from scipy import optimize, stats

from unitrank_engine.ablation.statistics.removable import removable_at, upper_limit


@pytest.mark.parametrize(("wrong", "examples", "level"), [(0, 300, 0.95), (3, 700, 0.95), (1, 4, 0.9), (9, 1200, 0.99)])
def test_upper_limit_when_the_share_is_at_the_limit_then_so_few_wrong_examples_are_as_rare_as_the_level_says(
    wrong: int, examples: int, level: float
) -> None:
    expected = optimize.brentq(lambda share: stats.binom.cdf(wrong, examples, share) - (1 - level), 0.0, 1.0, xtol=1e-14)

    assert upper_limit(wrong, examples, level) == pytest.approx(expected, rel=1e-9)


def test_upper_limit_when_all_examples_are_wrong_then_it_is_1() -> None:
    assert upper_limit(5, 5, level=0.95) == 1.0


@pytest.mark.parametrize(
    ("newly_wrong", "expected"),
    [
        ([0, 0, 0], 90),
        ([0, 1, 30], 50),
        ([0, 30, 0], 10),  # the search ends at the first count that is too high
        ([30, 0, 0], 0),
    ],
)
def test_removable_at_when_too_many_examples_become_wrong_then_it_is_the_count_before(
    newly_wrong: list[int], expected: int
) -> None:
    assert removable_at([10, 50, 90], newly_wrong, examples=500, level=0.95, tolerance=0.01) == expected


@pytest.mark.parametrize(("examples", "expected"), [(0, None), (1, None), (298, None), (299, 10)])
def test_removable_at_when_no_wrong_example_shows_too_little_then_it_is_null(examples: int, expected: int | None) -> None:
    # 0.05 ^ (1 / 299) is the first of these roots above 0.99.
    assert removable_at([10], [0], examples=examples, level=0.95, tolerance=0.01) == expected


def test_removable_at_when_the_tolerance_grows_then_fewer_examples_suffice() -> None:
    assert removable_at([10, 50], [0, 2], examples=59, level=0.95, tolerance=0.05) == 10
    assert removable_at([10, 50], [0, 2], examples=59, level=0.95, tolerance=0.2) == 50
