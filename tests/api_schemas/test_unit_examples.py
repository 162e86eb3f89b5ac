"""The number of units for which a result keeps examples."""

import pytest

from unitrank_schemas.unit_examples import units_with_examples


@pytest.mark.parametrize(
    ("rankings", "clusters", "units", "classes", "kept"),
    [
        (1, 1, 6, 1, 6),
        (3, 10, 144, 1, 136),
        (3, 10, 5408, 1, 136),
        (20, 10, 5408, 1, 20),
        (21, 10, 5408, 1, 0),
        (1, 13, 5408, 1, 0),
        (400, 10, 1, 1, 1),
        (410, 10, 1, 1, 0),
        (1, 10_000, 6, 1, 0),
        (10, 10, 144, 10, 40),
        (10, 10, 2704, 10, 0),
    ],
)
def test_units_with_examples_are_the_first_ones_that_fit(rankings: int, clusters: int, units: int, classes: int, kept: int) -> None:
    assert units_with_examples(rankings=rankings, clusters=clusters, units=units, classes=classes) == kept
