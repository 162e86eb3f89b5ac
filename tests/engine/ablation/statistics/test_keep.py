"""The values of the order `keep` equal results computed by hand, and those of a linear tail."""

import numpy as np
import pytest

from unitrank_engine.ablation.statistics.keep import keep_area, srg, units_for_90


def test_keep_values_when_the_tail_is_linear_then_keeping_and_deleting_add_up() -> None:
    # F = Σ w: deleting the first k units and keeping only them lose the whole score together.
    weights, counts = np.array([5.0, 3.0, 1.0, 0.5, 0.5]), [1, 2, 4]
    kept = np.array([weights[:count].sum() for count in counts])
    intact = total = float(weights.sum())
    area = float(np.mean(kept)) / total
    least = float(np.mean([weights[::-1][:count].sum() for count in counts]))

    assert keep_area(kept, intact=intact, total=total) == pytest.approx(area, rel=1e-12)
    assert srg(most=area * total, least=least, total=total) == pytest.approx(area - least / total, rel=1e-12)
    # 5, 8 and 9.5 of 10.
    assert units_for_90(counts, kept, intact=intact, total=total) == 4


@pytest.mark.parametrize(
    ("kept", "expected"),
    [
        ([9.0, 9.0, 9.0], 1),  # exactly 90 % is enough
        ([8.9, 9.1, 9.9], 5),
        ([9.9, 8.0, 9.1], 20),  # a later count falls below 90 % again
        ([9.9, 9.9, 8.9], None),
        ([12.0, 11.0, 10.0], 1),
    ],
)
def test_units_for_90_when_a_later_count_keeps_less_then_it_is_after_that_count(kept: list[float], expected: int | None) -> None:
    assert units_for_90([1, 5, 20], np.array(kept), intact=10.0, total=10.0) == expected


def test_units_for_90_when_no_unit_leaves_a_score_then_the_share_counts_from_there() -> None:
    # S₀ = 1 and S_n = −9: 90 % of the way back is 0.
    assert units_for_90([1, 5], np.array([-0.1, 0.1]), intact=1.0, total=10.0) == 5


def test_keep_values_when_the_area_is_null_then_they_are_null() -> None:
    kept = np.array([1.0])

    assert keep_area(kept, intact=1.0, total=None) is None
    assert srg(most=1.0, least=0.0, total=None) is None
    assert units_for_90([1], kept, intact=1.0, total=None) is None
