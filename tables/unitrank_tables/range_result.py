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
        self._rows: dict[str, list[NDArray[Any]]] = {}

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
        # The pieces of an array are freed before the next array is joined.
        return RangeResult(self._sums, {name: np.concatenate(self._rows.pop(name)) for name in list(self._rows)})

    def _append(self, result: RangeResult) -> None:
        shapes = _shapes(result.rows)
        if self._next == 0:
            self._sums, self._rows = dict(result.sums), {name: [array] for name, array in result.rows.items()}
            return
        if result.sums.keys() != self._sums.keys() or result.rows.keys() != self._rows.keys():
            raise ValueError("two ranges of a pass gave different arrays")
        same_sums = all(array.shape == self._sums[name].shape for name, array in result.sums.items())
        if not same_sums or shapes != _shapes({name: pieces[0] for name, pieces in self._rows.items()}):
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
