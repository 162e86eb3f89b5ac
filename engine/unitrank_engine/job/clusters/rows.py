"""Dataset rows as numbers that are computed when they are read, for clusters of very many rows."""

from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Int

MOST_HELD = 2**17
"""Rows of a dataset whose clusters hold their row numbers; above, a column has them."""


@runtime_checkable
class Rows(Protocol):
    """Ascending dataset rows, each once, such as an array of them."""

    def __len__(self) -> int: ...

    def __getitem__(self, positions: Any, /) -> Any:
        """The rows at a slice or an array of positions, as an array. Any: as numpy has it."""

    def searchsorted(self, rows: Any, /) -> Any:
        """The number of smaller rows, for each of these rows. Any: as numpy has it."""


class RowRange:
    """All rows from 0 to `count`.

    >>> RowRange(10**9)[5:8]
    array([5, 6, 7])
    """

    def __init__(self, count: int) -> None:
        self._count = count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, positions: slice | np.ndarray, /) -> Int[np.ndarray, " rows"]:
        if isinstance(positions, slice):
            return np.arange(*positions.indices(self._count))
        return np.asarray(positions, dtype=np.int64)

    def searchsorted(self, rows: np.ndarray, /) -> Int[np.ndarray, " rows"]:
        """As in `Rows`."""
        return np.asarray(np.clip(rows, 0, self._count))
