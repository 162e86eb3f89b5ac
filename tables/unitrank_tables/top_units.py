"""The units with the highest importance, in one order for summary, tables and client."""

from collections.abc import Sequence
from math import isnan
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray


class TopUnit(TypedDict):
    """One unit of a ranking.

    `index`: its position on each axis of the layer. `spread` is None for a single example.
    """

    unit: int
    index: list[int]
    importance: float
    spread: float | None


def top_units(importance: NDArray[Any], spread: NDArray[Any], shape: Sequence[int], count: int) -> list[TopUnit]:
    """At most `count` units: the most important first, equal ones by their number, NaN last.

    Importance is compared as float32, the precision of a result's arrays.
    """
    order = highest(importance, count)
    positions = np.unravel_index(order, tuple(shape)) if shape else ()
    indices = np.stack(positions, axis=1).tolist() if positions else [[] for _ in order]
    columns = zip(order.tolist(), indices, importance[order].tolist(), spread[order].tolist(), strict=True)
    return [
        TopUnit(unit=unit, index=index, importance=value, spread=None if isnan(deviation) else deviation)
        for unit, index, value, deviation in columns
    ]


def highest(importance: NDArray[Any], count: int) -> NDArray[np.int64]:
    """The numbers of at most `count` units, in the order of `top_units`."""
    keys = -importance.astype(np.float32)
    if not 0 < count < len(keys):
        return np.argsort(keys, kind="stable")[:count]
    # A NaN is not larger than the last key: it stays, and is sorted to the end.
    first = np.flatnonzero(~(keys > np.partition(keys, count - 1)[count - 1]))
    return first[np.argsort(keys[first], kind="stable")[:count]]
