"""The result of a range of rows, and the tree that joins the results of all ranges of a pass.

A pass over rows is divided into ranges. Each range gives arrays that are added, and arrays that
follow each other. Sums of floats depend on the order of addition, so the tree fixes this order: it
depends on the number of ranges alone, and not on where or when each range was computed.

    range     0   1   2   3   4
               ╲ ╱     ╲ ╱    │
               01      23     4
                 ╲    ╱       │
                  0123        4
                      ╲      ╱
                        all
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load, save

Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class RangeResult:
    """The arrays of a range, or of some ranges that follow each other."""

    sums: Arrays = field(default_factory=dict)
    """Arrays that are added."""
    rows: Arrays = field(default_factory=dict)
    """Arrays that follow each other along their first axis."""

    def joined(self, later: "RangeResult") -> "RangeResult":
        """Return the result of both. The ranges of `later` follow those of this result.

        Raises ValueError where the two have different arrays.
        """
        if self.sums.keys() != later.sums.keys() or self.rows.keys() != later.rows.keys():
            raise ValueError("the results of two ranges of a pass have different arrays")
        return RangeResult(
            {name: array + later.sums[name] for name, array in self.sums.items()},
            {name: np.concatenate([array, later.rows[name]]) for name, array in self.rows.items()},
        )

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


class SumTree:
    """Joins the results of a pass's ranges, which arrive in any order.

    `count`: the number of ranges, at least 1.

    If the results arrive in order, the tree holds about log2(count) of them.

    >>> tree = SumTree(3)
    >>> for number in (2, 0, 1):
    ...     tree.add(number, RangeResult({"sum": np.array([10.0**number])}, {"row": np.array([number])}))
    >>> result = tree.result()
    >>> result.sums["sum"].tolist(), result.rows["row"].tolist()
    ([111.0], [0, 1, 2])
    """

    def __init__(self, count: int) -> None:
        self._widths = [count]
        while self._widths[-1] > 1:
            self._widths.append((self._widths[-1] + 1) // 2)
        self._waiting: dict[tuple[int, int], RangeResult] = {}

    def add(self, number: int, result: RangeResult) -> None:
        """Add the result of the range with this number. Each range is added once."""
        level = 0
        while level + 1 < len(self._widths):
            # The last one of a level with an odd number of results moves up alone.
            if (number ^ 1) < self._widths[level]:
                other = self._waiting.pop((level, number ^ 1), None)
                if other is None:
                    break
                result = other.joined(result) if number & 1 else result.joined(other)
            level, number = level + 1, number // 2
        self._waiting[level, number] = result

    def result(self) -> RangeResult:
        """Return the result of all ranges. Raises KeyError while a range is missing."""
        return self._waiting[len(self._widths) - 1, 0]

    @property
    def held(self) -> int:
        """The number of results in memory."""
        return len(self._waiting)
