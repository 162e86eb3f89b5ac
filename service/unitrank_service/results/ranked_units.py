"""The units of a ranking in its order, read from a file in pieces, so that memory stays small.

The order is that of `unitrank_tables.top_units`: the most important first, equal ones by their
number, NaN last.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unitrank_store.results.array_file import ArrayFile

BLOCK = 2**18
"""Units in memory at the same time. A row of more units is read once for each block."""
PIECE = 256
"""Units of one piece. With 2048 units the answers of /healthz took up to 290 ms while a piece was
formatted on a busy machine, with 256 units 23 ms."""


@dataclass(frozen=True)
class RankedUnits:
    """Some units in the order of a ranking: one list for each column.

    `importance`, `spread`: None for numbers that are not finite, because JSON has no word for them.
    """

    unit: list[int]
    index: list[list[int]]
    importance: list[float | None]
    spread: list[float | None]


class RankedRow:
    """The units of one ranking and one cluster.

    `row`: the cluster's row in the arrays. `shape`: shape of the layer's units.
    """

    def __init__(self, arrays: ArrayFile, ranking: str, row: int, shape: Sequence[int]) -> None:
        self._arrays = arrays
        self._importance = f"importance/{ranking}"
        self._spread = f"spread/{ranking}"
        self._row = row
        self._shape = tuple(shape)
        self._size = arrays.arrays[self._importance].shape[1]

    def pieces(self, count: int) -> Iterator[RankedUnits]:
        """Yield the `count` most important units, at most `PIECE` at a time."""
        for units in self._blocks(min(count, self._size)):
            importance, spread = self._values(self._importance, units), self._values(self._spread, units)
            for start in range(0, len(units), PIECE):
                piece = slice(start, start + PIECE)
                yield self._piece(units[piece], importance[piece], spread[piece])

    def _piece(self, units: NDArray[Any], importance: NDArray[Any], spread: NDArray[Any]) -> RankedUnits:
        places = np.stack(np.unravel_index(units, self._shape), axis=1).tolist() if self._shape else [[] for _ in units]
        return RankedUnits(units.tolist(), places, _finite(importance), _finite(spread))

    def _blocks(self, count: int) -> Iterator[NDArray[np.int64]]:
        """Yield the numbers of the `count` most important units, at most `BLOCK` at a time."""
        last = None
        while count > 0:
            keys = self._first_keys(min(count, BLOCK), last)
            yield (keys & np.uint64(2**32 - 1)).astype(np.int64)
            count, last = count - len(keys), keys[-1]

    def _first_keys(self, count: int, last: np.uint64 | None) -> NDArray[np.uint64]:
        """Return the `count` smallest keys above `last`, in order."""
        first = np.empty(0, np.uint64)
        for start in range(0, self._size, BLOCK):
            keys = _keys(self._read(self._importance, start), start)
            first = np.concatenate([first, keys if last is None else keys[keys > last]])
            if len(first) > count:
                first = np.partition(first, count - 1)[:count]
        return np.sort(first)

    def _values(self, name: str, units: NDArray[Any]) -> NDArray[Any]:
        """Return one value of the array for each unit; NaN where the result has no such array."""
        values = np.full(len(units), np.nan, np.float32)
        if name in self._arrays.arrays:
            for start in range(0, self._size, BLOCK):
                within = (units >= start) & (units < start + BLOCK)
                if within.any():
                    values[within] = self._read(name, start)[units[within] - start]
        return values

    def _read(self, name: str, start: int) -> NDArray[Any]:
        """Return the values of at most `BLOCK` units from the unit `start` on."""
        first = self._row * self._size
        return self._arrays.read(name, first + start, first + min(start + BLOCK, self._size))


def _keys(importance: NDArray[Any], start: int) -> NDArray[np.uint64]:
    """Return one number for each unit: the smaller the number, the earlier the unit's place.

    The upper 32 bits are the bits of -importance, changed so that they sort as integers. The lower
    32 bits are the number of the unit. `start`: number of the first unit.
    """
    # 0 - x is -x, but never -0.0, which is equal to 0.0 and has other bits.
    bits = (np.float32(0) - importance).view(np.uint32)
    bits = np.where(bits >> 31, ~bits, bits | np.uint32(2**31))
    bits[np.isnan(importance)] = 2**32 - 1
    return bits.astype(np.uint64) << np.uint64(32) | np.arange(start, start + len(bits), dtype=np.uint64)


def _finite(values: NDArray[Any]) -> list[float | None]:
    numbers: list[float | None] = values.tolist()
    for index in np.flatnonzero(~np.isfinite(values)):
        numbers[index] = None
    return numbers
