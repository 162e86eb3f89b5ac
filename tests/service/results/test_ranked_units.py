"""Units read in pieces are in the order of `top_units`, which has the whole row in memory."""

import tempfile
from typing import Any, BinaryIO, cast

import numpy as np
import pytest

from unitrank_service.results import ranked_units
from unitrank_service.results.ranked_units import RankedRow
from unitrank_store.results.array_file import ArrayFile
from unitrank_tables.result_arrays import encode_arrays
from unitrank_tables.top_units import top_units

ODD = [0.0, -0.0, 1.0, np.nan, -np.inf, np.inf, 1.0, -1e-45, 1e-45, 0.0, -np.nan, -2.0]


def array_file(**arrays: Any) -> ArrayFile:
    file = cast(BinaryIO, tempfile.TemporaryFile())  # noqa: SIM115  # the ArrayFile closes it
    file.write(encode_arrays({name.replace("_", "/"): array for name, array in arrays.items()}))
    file.flush()
    return ArrayFile(file)


def units_of(row: RankedRow, count: int) -> list[tuple[Any, ...]]:
    pieces = list(row.pieces(count))
    assert all(len(piece.unit) <= ranked_units.PIECE for piece in pieces)
    return [unit for piece in pieces for unit in zip(piece.unit, piece.index, piece.importance, piece.spread, strict=True)]


@pytest.mark.parametrize("count", [1, 5, 12, 100])
@pytest.mark.parametrize("block", [2, 5, 100])
def test_units_when_read_in_blocks_then_are_in_the_order_of_top_units(
    monkeypatch: pytest.MonkeyPatch, count: int, block: int
) -> None:
    monkeypatch.setattr(ranked_units, "BLOCK", block)
    monkeypatch.setattr(ranked_units, "PIECE", 3)
    importance = np.array([np.zeros(12), ODD], np.float32)
    spread = np.arange(24, dtype=np.float32).reshape(2, 12)

    with array_file(importance_a=importance, spread_a=spread) as arrays:
        units = units_of(RankedRow(arrays, "a", 1, [3, 4]), count)
    expected = top_units(importance[1], spread[1], [3, 4], count)
    assert [unit[0] for unit in units] == [unit["unit"] for unit in expected]
    assert [unit[1] for unit in units] == [unit["index"] for unit in expected]
    assert [unit[3] for unit in units] == [unit["spread"] for unit in expected]
    assert [unit[2] for unit in units] == [unit["importance"] if np.isfinite(unit["importance"]) else None for unit in expected]


def test_units_when_all_are_equal_then_are_in_the_order_of_their_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranked_units, "BLOCK", 4)

    with array_file(importance_a=np.zeros((1, 11))) as arrays:
        units = units_of(RankedRow(arrays, "a", 0, [11]), 9)
    assert units == [(unit, [unit], 0.0, None) for unit in range(9)]


def test_units_when_the_layer_has_one_without_axes_then_its_index_is_empty() -> None:
    with array_file(importance_a=np.ones((1, 1)), spread_a=np.zeros((1, 1))) as arrays:
        assert units_of(RankedRow(arrays, "a", 0, []), 5) == [(0, [], 1.0, 0.0)]
