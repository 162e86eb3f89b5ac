"""Groups of a cluster's members with equal values of a field, which stay in one half."""

from bisect import bisect_left
from collections.abc import Callable, Iterator

import numpy as np
from jaxtyping import Bool, Int, Integer, Shaped, UInt64

from unitrank_engine.job.clusters.hashed_order import HashedOrder, blocks, mixed
from unitrank_engine.job.clusters.rows import Rows
from unitrank_tables import Table

DIGIT_BITS = 16
"""The upper bits of a group's hash that decide its half. They are held for each member."""


class FieldGroups:
    """The groups of a cluster's members. Members with equal values of the field are a group."""

    def __init__(self, table: Table, field: str, rows: Rows) -> None:
        self._table = table
        self._field = field
        self._rows = rows

    def complete(self, marked: Bool[np.ndarray, " members"]) -> None:
        """Mark all members of groups that have a marked member."""
        values = self._values(slice(0, 0))
        for block, read in self._blocks():
            values = np.union1d(values, read[marked[block]])
        for block, read in self._blocks():
            marked[block] |= np.isin(read, values)

    def in_order(
        self, generator: np.random.Generator, marked: Bool[np.ndarray, " members"] | None
    ) -> Callable[[slice], Bool[np.ndarray, " places"]]:
        """Return a function of places in a seeded order: whether the members there rank.

        Whole groups rank, in the order of their first members, until half of all members are
        reached. Marked groups come first.

        `generator`: one that also shuffles the members.
        """
        numbers, sizes = self._numbered()
        first = np.full(len(sizes), len(numbers), np.int32)
        if marked is not None:
            is_marked = np.zeros(len(sizes), bool)
            for block in blocks(len(numbers)):
                is_marked[numbers[block][marked[block]]] = True
        # The numbers of the groups in the seeded order of their members.
        generator.shuffle(numbers)
        for block in reversed(list(blocks(len(numbers)))):
            # The last of several values for one index is kept.
            first[numbers[block][::-1]] = np.arange(block.start, block.stop)[::-1]
        if marked is not None:
            first[is_marked] = -1
        places = range(-1, len(numbers))
        last = places[bisect_left(places, (len(numbers) + 1) // 2, key=lambda place: sizes.sum(where=first <= place))]
        ranks = first <= last
        return lambda block: ranks[numbers[block]]

    def set_hashed_sides(
        self, sides: Integer[np.ndarray, " members"], order: HashedOrder, marked: Bool[np.ndarray, " members"] | None
    ) -> None:
        """Set the side of each member, from a keyed hash of its group.

        Groups rank in the order of the upper bits of their hashes, until half of all members are
        reached. Groups with equal upper bits stay together. Marked groups come first.
        """
        digits = np.empty(len(sides), np.uint16)
        counts = np.zeros(2**DIGIT_BITS, np.int64)
        for block, read in self._blocks():
            digits[block] = order.hashes(whole_numbers(read)) >> np.uint64(64 - DIGIT_BITS)
            free = digits[block] if marked is None else digits[block][~marked[block]]
            counts += np.bincount(free, minlength=len(counts))
        missing = (len(sides) + 1) // 2 - (0 if marked is None else int(marked.sum()))
        last = int(np.searchsorted(np.cumsum(counts), missing)) if missing > 0 else -1
        for block in blocks(len(sides)):
            sides[block] = digits[block] > last
        if marked is not None:
            sides[marked] = 0

    def _values(self, block: slice) -> Shaped[np.ndarray, " block"]:
        return self._table.read(self._field, self._rows[block])

    def _blocks(self) -> Iterator[tuple[slice, Shaped[np.ndarray, " block"]]]:
        return ((block, self._values(block)) for block in blocks(len(self._rows)))

    def _numbered(self) -> tuple[Integer[np.ndarray, " members"], Int[np.ndarray, " groups"]]:
        """The number of each member's group, and the sizes of the groups."""
        numbers = np.empty(len(self._rows), np.uint8)
        groups = _NumberedValues(self._values(slice(0, 0)))
        for block, read in self._blocks():
            of_block = groups.add(read)
            numbers = numbers.astype(np.promote_types(numbers.dtype, np.min_scalar_type(len(groups.sizes))), copy=False)
            numbers[block] = of_block
        return numbers, groups.sizes


class _NumberedValues:
    """Distinct values, ascending, with a number each that later values do not change.

    `sizes`: how often the value with each number came.
    """

    def __init__(self, none: Shaped[np.ndarray, " 0"]) -> None:
        """`none`: an array of the values' type without any."""
        self._values = none
        self._numbers = np.empty(0, np.int32)
        self.sizes = np.empty(0, np.int32)

    def add(self, values: Shaped[np.ndarray, " values"]) -> Int[np.ndarray, " values"]:
        """Count these values; return their numbers."""
        present, here, counts = np.unique(values, return_inverse=True, return_counts=True)
        places = np.searchsorted(self._values, present)
        is_new = np.ones(len(present), bool)
        inside = places < len(self._values)
        is_new[inside] = ~_equal(self._values[places[inside]], present[inside])
        count, more = len(self.sizes), int(is_new.sum())
        # Strings of a later shard can be longer.
        self._values = self._values.astype(np.promote_types(self._values.dtype, present.dtype), copy=False)
        self._values = np.insert(self._values, places[is_new], present[is_new])
        self._numbers = np.insert(self._numbers, places[is_new], np.arange(count, count + more, dtype=np.int32))
        self.sizes = np.concatenate([self.sizes, np.zeros(more, np.int32)])
        numbers = self._numbers[np.searchsorted(self._values, present)]
        self.sizes[numbers] += counts.astype(np.int32)
        return numbers[here]


def _equal(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Whether values are equal. NaN equals NaN, as in `numpy.unique`."""
    equal: np.ndarray = (left == right) | ((left != left) & (right != right))
    return equal


def whole_numbers(values: Shaped[np.ndarray, " values"]) -> UInt64[np.ndarray, " values"]:
    """A number for each value, which is equal for equal values.

    Other integers, booleans and floats get other numbers. Strings get a hash of 64 bits.
    """
    if values.dtype.kind == "f":
        # −0 equals 0.
        values = values.astype(np.float64) + 0.0
        values[np.isnan(values)] = np.nan
        return values.view(np.uint64)
    if values.dtype.kind != "U":
        return values.astype(np.uint64)
    letters = np.ascontiguousarray(values).view(np.uint32).reshape(len(values), -1)
    hashes = np.zeros(len(values), np.uint64)
    for column in letters.T:
        # The end of a short string is filled with 0, which must not change its hash.
        hashes = np.where(column == 0, hashes, mixed(hashes + column))
    return hashes
