"""Rows are read in few ranges that hold little more than these rows."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unitrank_tables.sharded.ranges import MOST_AT_ONCE, WASTE, ByteRange, requests, runs


@given(st.sets(st.integers(0, 3000), min_size=1), st.integers(1, 10_000))
def test_runs_cover_the_rows_and_little_else(rows: set[int], width: int) -> None:
    ascending = np.array(sorted(rows))
    covered = [row for first, last in runs(ascending, width) for row in range(first, last)]

    assert sorted(covered) == covered
    assert len(set(covered)) == len(covered)
    assert rows <= set(covered)
    assert len(covered) <= len(rows) * (1 + 1 / WASTE)


@pytest.mark.parametrize("width", [1, 1000, MOST_AT_ONCE + 1])
def test_run_when_it_is_long_then_is_cut(width: int) -> None:
    cut = runs(np.arange(100_000), width)

    assert all((last - first) * width <= max(MOST_AT_ONCE, width) for first, last in cut)
    assert [first for first, _ in cut[1:]] == [last for _, last in cut[:-1]]


def test_requests_when_ranges_are_many_then_have_a_bounded_size_each() -> None:
    ranges = [ByteRange(0, start, start + MOST_AT_ONCE // 3) for start in range(10)] + [ByteRange(1, 0, 2 * MOST_AT_ONCE)]
    grouped = list(requests(ranges))

    assert [each for request in grouped for each in request] == ranges
    assert all(len(request) == 1 or sum(stop - start for _, start, stop in request) <= MOST_AT_ONCE for request in grouped)
    assert len(grouped) == 5
