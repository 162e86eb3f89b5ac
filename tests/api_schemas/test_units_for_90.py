"""The units that keep 90 % of the score, over several clusters."""

import pytest

from unitrank_schemas.units_for_90 import median_units_for_90


@pytest.mark.parametrize(
    ("counts", "median"),
    [([4], 4), ([9, 1, 5], 5), ([8, 2, 6, 4], 6), ([1, None, 2], 2), ([1, None], None), ([None, None, 3], None), ([], None)],
)
def test_median_is_the_smallest_count_that_suffices_in_more_than_half_of_the_clusters(
    counts: list[int | None], median: int | None
) -> None:
    assert median_units_for_90(counts) == median
