"""The order of units: highest first, the same for everybody."""

import numpy as np

from unitrank_tables.top_units import TopUnit, top_units


def test_units_when_some_are_equal_then_equal_units_are_ordered_by_number() -> None:
    importance = np.array([1.0, 3.0, 3.0, -5.0, 3.0], np.float32)
    units = top_units(importance, np.zeros(5, np.float32), [5], 4)

    assert [unit["unit"] for unit in units] == [1, 2, 4, 0]
    assert units[0] == TopUnit(unit=1, index=[1], importance=3.0, spread=0.0)


def test_units_when_equal_as_float32_then_are_ordered_by_number_and_keep_their_value() -> None:
    importance = np.array([1.0, 1.0 + 1e-12])
    units = top_units(importance, np.zeros(2), [2], 2)

    assert [(unit["unit"], unit["importance"]) for unit in units] == [(0, 1.0), (1, 1.0 + 1e-12)]
    assert [unit["unit"] for unit in top_units(importance.astype(np.float32), np.zeros(2), [2], 2)] == [0, 1]


def test_units_when_some_are_nan_then_are_last() -> None:
    importance = np.array([np.nan, -np.inf, 2.0, np.inf], np.float32)
    units = top_units(importance, np.array([0.0, 1.0, np.nan, 2.0]), [4], 4)

    assert [unit["unit"] for unit in units] == [3, 2, 1, 0]
    assert np.isnan(units[-1]["importance"])
    assert [unit["spread"] for unit in units] == [2.0, None, 1.0, 0.0]


def test_units_when_there_are_fewer_than_requested_then_all_are_returned() -> None:
    assert [unit["unit"] for unit in top_units(np.arange(3.0), np.zeros(3), [3], 20)] == [2, 1, 0]
    assert top_units(np.arange(3.0), np.zeros(3), [3], 0) == []


def test_units_when_the_layer_has_axes_then_have_their_place_in_it() -> None:
    units = top_units(np.arange(12.0), np.zeros(12), [3, 2, 2], 12)

    assert [unit["index"] for unit in units] == [list(np.unravel_index(unit["unit"], (3, 2, 2))) for unit in units]
    assert top_units(np.ones(1), np.zeros(1), [], 1) == [TopUnit(unit=0, index=[], importance=1.0, spread=0.0)]
