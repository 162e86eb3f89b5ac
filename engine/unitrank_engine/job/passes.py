"""Passes over rows, as maps and sums.

A pass is a function from a range of rows to a result, whose arrays are added or follow each other.
The ranges and the order of addition follow from the request. So the numbers do not depend on the
processes that compute the ranges.
"""

from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

from unitrank_tables.range_result import RangeJoin, RangeResult

Compute = Callable[[range], RangeResult]
"""Takes a range of row positions; returns its result."""


@runtime_checkable
class PassRunner(Protocol):
    """Runs the ranges of passes, in this process or in others."""

    def run(self, stage: str, ranges: Sequence[range], compute: Compute) -> RangeResult:
        """Return the joined result of all ranges. Raises EngineError and Cancelled.

        `stage`: the stage of the job that the pass belongs to. `ranges`: at least one.
        """
        ...


class LocalRunner:
    """Runs the ranges of a pass one after the other in this process."""

    def run(self, stage: str, ranges: Sequence[range], compute: Compute) -> RangeResult:
        """As in `PassRunner`."""
        join = RangeJoin(len(ranges))
        for number, each in enumerate(ranges):
            join.add(number, compute(each))
        return join.result()


def ranges_of(rows: int, size: int) -> list[range]:
    """Return the ranges of this many rows, each of `size` rows but the last.

    >>> ranges_of(5, 2)
    [range(0, 2), range(2, 4), range(4, 5)]
    """
    return [range(start, min(start + size, rows)) for start in range(0, rows, size)]
