"""The result of a range of rows, and the join of the results of all ranges of a pass.

A pass over rows is divided into ranges. Each range gives arrays that are added, and arrays that
follow each other.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load, save

Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class RangeResult:
    """The arrays of a range, or of all ranges of a pass."""

    sums: Arrays = field(default_factory=dict)
    """Arrays that are added."""
    rows: Arrays = field(default_factory=dict)
    """Arrays that follow each other along their first axis."""

    def encode(self) -> bytes:
        """Return the arrays as safetensors."""
        return save({f"{kind}/{name}": np.ascontiguousarray(array) for kind, name, array in self._named()})

    @classmethod
    def decode(cls, data: bytes) -> "RangeResult":
        """Return the result from its bytes. Raises safetensors' error for damaged bytes."""
        arrays = load(data)
        kinds = (
            {name.removeprefix(kind): each for name, each in arrays.items() if name.startswith(kind)} for kind in ("sums/", "rows/")
        )
        return cls(*kinds)

    def _named(self) -> Iterator[tuple[str, str, NDArray[Any]]]:
        for kind, arrays in (("sums", self.sums), ("rows", self.rows)):
            for name, array in arrays.items():
                yield kind, name, array


class RangeJoin:
    """Joins the results of a pass's ranges in the order of the ranges.

    A sum of floats depends on the order of addition. Here this order depends on the ranges alone,
    and not on where or when each range was computed. A result that comes before its turn waits.

    `count`: the number of ranges, at least 1.

    >>> join = RangeJoin(3)
    >>> for number in (2, 0, 1):
    ...     join.add(number, RangeResult({"sum": np.array([10.0**number])}, {"row": np.array([number])}))
    >>> result = join.result()
    >>> result.sums["sum"].tolist(), result.rows["row"].tolist()
    ([111.0], [0, 1, 2])
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._next = 0
        self._waiting: dict[int, RangeResult] = {}
        self._sums: dict[str, NDArray[Any]] = {}
        self._rows: dict[str, _GrowingRows] = {}

    @property
    def waiting(self) -> int:
        """The number of results that wait for an earlier one."""
        return len(self._waiting)

    @property
    def missing(self) -> int:
        """The number of ranges whose results have not been joined."""
        return self._count - self._next

    def add(self, number: int, result: RangeResult) -> None:
        """Add the result of the range with this number. Each range is added once.

        Raises ValueError where its arrays are not those of the first range.
        """
        self._waiting[number] = result
        while self._next in self._waiting:
            self._append(self._waiting.pop(self._next))
            self._next += 1

    def result(self) -> RangeResult:
        """Return the result of all ranges; call it once.

        Raises ValueError while a range is missing.
        """
        if self.missing:
            raise ValueError(f"{self.missing} of {self._count} ranges are missing")
        return RangeResult(self._sums, {name: rows.result() for name, rows in self._rows.items()})

    def _append(self, result: RangeResult) -> None:
        shapes = _shapes(result.rows)
        if self._next == 0:
            self._sums = dict(result.sums)
            self._rows = {name: _GrowingRows(array) for name, array in result.rows.items()}
            return
        if result.sums.keys() != self._sums.keys() or result.rows.keys() != self._rows.keys():
            raise ValueError("two ranges of a pass gave different arrays")
        same_sums = all(array.shape == self._sums[name].shape for name, array in result.sums.items())
        if not same_sums or shapes != {name: rows.shape for name, rows in self._rows.items()}:
            # numpy would repeat a smaller sum, up to any size.
            raise ValueError("two ranges of a pass gave arrays of different shapes")
        for name, array in result.sums.items():
            # The sums of the first range are its own; those of two and more are added in place.
            self._sums[name] = np.add(self._sums[name], array, out=self._sums[name] if self._next > 1 else None)
        for name, array in result.rows.items():
            self._rows[name].append(array)


def _shapes(rows: Arrays) -> dict[str, tuple[int, ...]]:
    """The shape of a row of each array. Raises ValueError for a scalar, which has no rows."""
    if any(array.ndim == 0 for array in rows.values()):
        raise ValueError("a range gave a scalar instead of rows")
    return {name: array.shape[1:] for name, array in rows.items()}


class _GrowingRows:
    """Arrays that follow each other in one buffer, so that no second copy of the rows is held.

    The buffer grows in place: the system moves the pages of a large block without copying them.
    """

    def __init__(self, first: NDArray[Any]) -> None:
        self.shape = first.shape[1:]
        self._first = first
        self._buffer: NDArray[Any] | None = None
        self._length = 0

    def append(self, array: NDArray[Any]) -> None:
        """Add an array with rows of the same shape. Raises ValueError if they have another type."""
        if self._buffer is None:
            self._buffer, self._length = np.array(self._first, order="C"), len(self._first)
            self._first = self._first[:0].copy()
        if array.dtype != self._first.dtype:
            raise ValueError("two ranges of a pass gave rows of different types")
        start, stop = self._length, self._length + len(array)
        if stop > len(self._buffer):
            # No other object refers to the buffer before `result`.
            self._buffer.resize((stop + stop // 16, *self.shape), refcheck=False)
        self._buffer[start:stop] = array
        self._length = stop

    def result(self) -> NDArray[Any]:
        """Return all rows; call it once, after the last array."""
        if self._buffer is None:
            return self._first
        self._buffer.resize((self._length, *self.shape), refcheck=False)
        return self._buffer


def join_results(results: Sequence[RangeResult]) -> RangeResult:
    """Return the joined result of consecutive ranges."""
    join = RangeJoin(len(results))
    for number, result in enumerate(results):
        join.add(number, result)
    return join.result()


def merged(results: Iterable[RangeResult]) -> RangeResult:
    """Return the arrays of several results of one range, whose names differ."""
    sums: dict[str, NDArray[Any]] = {}
    rows: dict[str, NDArray[Any]] = {}
    for result in results:
        sums |= result.sums
        rows |= result.rows
    return RangeResult(sums, rows)
