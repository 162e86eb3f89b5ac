"""The number of units for which a result keeps examples."""

import pytest

from unitrank_schemas.unit_examples import units_with_examples


@pytest.mark.parametrize(
    ("rankings", "clusters", "units", "kept"),
    [
        (1, 1, 6, 6),
        (3, 10, 144, 136),
        (3, 10, 5408, 136),
        (20, 10, 5408, 20),
        (21, 10, 5408, 0),
        (1, 13, 5408, 0),
        (400, 10, 1, 1),
        (410, 10, 1, 0),
        (1, 10_000, 6, 0),
    ],
)
def test_units_with_examples_are_the_first_ones_that_fit(rankings: int, clusters: int, units: int, kept: int) -> None:
    assert units_with_examples(rankings, clusters, units) == kept
