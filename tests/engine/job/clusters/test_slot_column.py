"""A column of slots gives the rows that lists of rows give."""

import numpy as np
import pytest

from unitrank_engine.job.clusters import slot_column
from unitrank_engine.job.clusters.rows import RowRange, Rows
from unitrank_engine.job.clusters.slot_column import SlotColumn, slot_dtype

ROWS = 200
LABELS = np.random.default_rng(0).choice(5, ROWS, p=[0.5, 0.3, 0.19, 0.005, 0.005])
LABELS[[3, 150]] = 3
LABELS[77] = 4


@pytest.fixture(autouse=True, params=[7, 64, 1000])
def block(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Columns of many blocks, of few, and of one."""
    monkeypatch.setattr(slot_column, "BLOCK", request.param)
    monkeypatch.setattr(slot_column, "ROWS_PER_COUNT", 1)


def column() -> SlotColumn:
    return SlotColumn(LABELS.astype(np.uint8), clusters=5)


def assert_same_rows(rows: Rows, expected: np.ndarray) -> None:
    count = len(expected)
    assert len(rows) == count
    np.testing.assert_array_equal(rows[:], expected)
    np.testing.assert_array_equal(np.asarray(rows), expected)
    for start in range(0, count + 1, 3):
        for stop in (start, start + 1, start + 10, count, count + 5):
            np.testing.assert_array_equal(rows[start:stop], expected[start:stop])
    positions = np.random.default_rng(1).integers(0, max(count, 1), 20 if count else 0)
    np.testing.assert_array_equal(rows[positions], expected[positions])
    every = np.arange(ROWS + 3)
    np.testing.assert_array_equal(rows.searchsorted(every), expected.searchsorted(every))


@pytest.mark.parametrize("cluster", range(5))
def test_rows_of_a_cluster_are_those_with_its_label(cluster: int) -> None:
    assert_same_rows(column().of_cluster(cluster), np.flatnonzero(cluster == LABELS))


def test_halves_when_set_by_cluster_then_each_row_has_its_half() -> None:
    table, sides = column(), np.random.default_rng(2).integers(0, 2, ROWS).astype(np.uint8)
    table.set_sides(sides)
    side_of_row = np.empty(ROWS, np.uint8)
    side_of_row[np.argsort(LABELS, kind="stable")] = sides

    np.testing.assert_array_equal(table.slots, 2 * LABELS + side_of_row)
    np.testing.assert_array_equal(table.sizes, np.bincount(LABELS))
    for cluster in range(3):
        assert_same_rows(table.of_side(cluster, 0), np.flatnonzero((cluster == LABELS) & (side_of_row == 0)))
        assert_same_rows(table.of_cluster(cluster), np.flatnonzero(cluster == LABELS))


def test_halves_when_one_cluster_has_all_rows_then_they_are_the_slots() -> None:
    table, sides = SlotColumn(np.zeros(ROWS, np.uint8), clusters=1), np.random.default_rng(2).integers(0, 2, ROWS).astype(np.uint8)
    written = table.new_sides()
    written[:] = sides
    table.set_sides(written)

    assert written is table.slots
    np.testing.assert_array_equal(table.slots, sides)
    assert_same_rows(table.of_side(0, 1), np.flatnonzero(sides))
    assert_same_rows(table.of_cluster(0), np.arange(ROWS))


@pytest.mark.parametrize(("clusters", "size"), [(1, 1), (128, 1), (129, 2), (10_000, 2)])
def test_slots_of_few_clusters_take_one_byte(clusters: int, size: int) -> None:
    assert slot_dtype(clusters).itemsize == size


def test_all_rows_are_numbers_that_are_computed() -> None:
    rows, every = RowRange(10**12), np.arange(3, 9)

    np.testing.assert_array_equal(rows[3:9], every)
    np.testing.assert_array_equal(rows[every], every)
    np.testing.assert_array_equal(rows.searchsorted(every), every)
    assert rows[10**12 - 2 :].tolist() == [10**12 - 2, 10**12 - 1]


@pytest.mark.parametrize("clusters", [5, 128])
def test_rows_that_are_not_kept_are_in_no_cluster(clusters: int) -> None:
    whole, is_kept = SlotColumn(LABELS.astype(np.uint8), clusters=clusters), np.random.default_rng(3).random(ROWS) < 0.4
    by_cluster = np.argsort(LABELS, kind="stable")
    table = whole.keep(is_kept[by_cluster])
    kept = np.flatnonzero(is_kept)
    sides = np.random.default_rng(2).integers(0, 2, ROWS).astype(np.uint8)
    table.set_sides(sides[by_cluster][is_kept[by_cluster]])

    assert len(table) == len(kept)
    assert_same_rows(table.rows, kept)
    for cluster in range(5):
        assert_same_rows(table.of_cluster(cluster), np.flatnonzero((cluster == LABELS) & is_kept))
        for side in (0, 1):
            chosen = (cluster == LABELS) & is_kept & (sides == side)
            assert_same_rows(table.of_side(cluster, side), np.flatnonzero(chosen))
    np.testing.assert_array_equal(table.by_row(by_cluster[is_kept[by_cluster]])[kept], kept)
