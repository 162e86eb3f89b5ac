"""The cluster and the half of every dataset row, as one small number for each row.

A job on very many rows, in at most one cluster each, holds this column and no list of rows.
"""

from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Bool, Integer, Shaped

from unitrank_engine.job.clusters.rows import RowRange, Rows

SIDES = 2
BLOCK = 2**16
"""Rows whose numbers are held at a time, at least."""
ROWS_PER_COUNT = 64
"""Rows of a block for each cluster, at least: the counts of blocks take 1/8 byte for each row."""


class SlotColumn:
    """The slot of every dataset row: 2 · cluster + half. At first, all rows are in half 0.

    `labels`: the cluster of each row, which this column takes over and changes.
    `has_others`: whether rows with the label `clusters` are in no cluster.

    >>> column = SlotColumn(np.array([1, 0, 1, 1], np.uint8), clusters=2)
    >>> column.of_cluster(1)[:]
    array([0, 2, 3])
    >>> column.set_sides(np.array([0, 1, 0, 1], np.uint8))  # row 1, then rows 0, 2 and 3
    >>> column.slots.tolist(), column.of_side(1, 0)[:].tolist()
    ([3, 0, 2, 3], [2])
    """

    def __init__(self, labels: Integer[np.ndarray, " rows"], *, clusters: int, has_others: bool = False) -> None:
        self.clusters = clusters
        self._labels = clusters + has_others
        self.block = max(BLOCK, ROWS_PER_COUNT * clusters)
        self.slots = labels.astype(slot_dtype(self._labels), copy=False)
        self.slots *= SIDES

    def __len__(self) -> int:
        """The number of rows in clusters."""
        return int(self.sizes.sum())

    @cached_property
    def rows(self) -> Rows:
        """The rows of all clusters, ascending."""
        if self._labels == self.clusters:
            return RowRange(len(self.slots))
        before = self._before[:, : self.clusters].sum(1)
        return SlotRows(self, lambda slots: slots < SIDES * self.clusters, before)

    @cached_property
    def sizes(self) -> Integer[np.ndarray, " clusters"]:
        """The number of rows of each cluster."""
        return np.asarray(self._before[-1, : self.clusters])

    @cached_property
    def starts(self) -> Integer[np.ndarray, " clusters"]:
        """The number of rows of all clusters before each cluster."""
        return np.asarray(np.cumsum(self.sizes) - self.sizes)

    @cached_property
    def _before(self) -> Integer[np.ndarray, "blocks labels"]:
        """The number of rows with each label before each block, and then in all."""
        return _added(np.bincount(slots // SIDES, minlength=self._labels) for _, slots in self._blocks())

    @cached_property
    def _before_in_halves(self) -> Integer[np.ndarray, "blocks slots"]:
        """The number of rows of each slot before each block, and then in all."""
        return _added(np.bincount(slots, minlength=SIDES * self._labels) for _, slots in self._blocks())

    def of_cluster(self, cluster: int) -> "SlotRows":
        """The rows of a cluster."""
        return SlotRows(self, lambda slots: slots // SIDES == cluster, self._before[:, cluster])

    def of_side(self, cluster: int, side: int) -> "SlotRows":
        """The rows of one half of a cluster. Call it when the halves are set."""
        slot = SIDES * cluster + side
        return SlotRows(self, lambda slots: slots == slot, self._before_in_halves[:, slot])

    def by_row(self, by_cluster: Shaped[np.ndarray, " members"]) -> Shaped[np.ndarray, " rows"]:
        """Return values in the order of the rows; 0 for rows in no cluster.

        `by_cluster`: the values of the rows of the first cluster, then of the second one, …
        """
        values = np.zeros(len(self.slots), by_cluster.dtype)
        for (start, slots), before in zip(self._blocks(), self._before[:, : self.clusters], strict=False):
            clusters = slots // SIDES
            sizes = np.bincount(clusters, minlength=self._labels)[: self.clusters]
            order = np.argsort(clusters, kind="stable")[: sizes.sum()]
            # The place of a cluster's first row of the block in `by_cluster`, less its place here.
            shifts = self.starts + before - (np.cumsum(sizes) - sizes)
            values[start + order] = by_cluster[np.arange(len(order)) + shifts[clusters[order]]]
        return values

    def keep(self, by_cluster: Bool[np.ndarray, " members"]) -> "SlotColumn":
        """Return a column where only these rows are in clusters, and give up this one.

        `by_cluster`: whether each row is kept, in the order of `by_row`. Call it before the halves
        are set.
        """
        is_other = self.by_row(by_cluster)
        np.logical_not(is_other, out=is_other)
        labels = np.floor_divide(self.slots, SIDES, out=self.slots)
        labels = labels.astype(np.promote_types(labels.dtype, slot_dtype(self.clusters + 1)), copy=False)
        labels[is_other] = self.clusters
        return SlotColumn(labels, clusters=self.clusters, has_others=True)

    def new_sides(self) -> Integer[np.ndarray, " members"]:
        """Return an array of zeros for `set_sides`.

        Where one cluster has all rows, it is `slots`: the halves of its rows are their slots.
        """
        return self.slots if self._labels == 1 else np.zeros(len(self), np.uint8)

    def set_sides(self, by_cluster: Integer[np.ndarray, " members"]) -> None:
        """Set the half of each row, in the order of `by_row`."""
        if by_cluster is not self.slots:
            self.slots += self.by_row(by_cluster)

    def _blocks(self) -> Iterator[tuple[int, Integer[np.ndarray, " rows"]]]:
        """The first row of each block, and the slots of its rows."""
        return ((start, self.slots[start : start + self.block]) for start in range(0, len(self.slots), self.block))


class SlotRows:
    """The rows of a column whose slot is chosen.

    `before`: the number of chosen rows before each block, and then in all.
    """

    def __init__(
        self,
        column: SlotColumn,
        is_chosen: Callable[[np.ndarray], Bool[np.ndarray, " rows"]],
        before: Integer[np.ndarray, " blocks"],
    ) -> None:
        self._column = column
        self._is_chosen = is_chosen
        self._before = before

    def __len__(self) -> int:
        return int(self._before[-1])

    def __getitem__(self, positions: slice | np.ndarray, /) -> Integer[np.ndarray, " rows"]:
        if isinstance(positions, slice):
            start, stop, step = positions.indices(len(self))
            return self._between(start, stop)[::step]
        numbers = np.asarray(positions)
        order = np.argsort(numbers, kind="stable")
        rows = np.empty(len(numbers), np.int64)
        bounds = np.searchsorted(numbers[order], self._before)
        for block in np.flatnonzero(np.diff(bounds)).tolist():
            here = order[bounds[block] : bounds[block + 1]]
            rows[here] = self._of_block(block)[numbers[here] - self._before[block]]
        return rows

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        # Any: as numpy declares it
        return self[:].astype(dtype or np.int64)

    def searchsorted(self, rows: np.ndarray, /) -> Integer[np.ndarray, " rows"]:
        """As in `Rows`."""
        return np.array([self._smaller(int(row)) for row in np.atleast_1d(rows)])

    def _smaller(self, row: int) -> int:
        block = min(row // self._column.block, len(self._before) - 1)
        if block == len(self._before) - 1:
            return len(self)
        return int(self._before[block]) + int(self._of_block(block).searchsorted(row))

    def _between(self, start: int, stop: int) -> Integer[np.ndarray, " rows"]:
        """The rows at the positions `start` to `stop`."""
        if stop <= start:
            return np.zeros(0, np.int64)
        first = int(np.searchsorted(self._before, start, side="right")) - 1
        last = int(np.searchsorted(self._before, stop))
        rows = np.concatenate([self._of_block(block) for block in range(first, last)])
        begin = start - int(self._before[first])
        return rows[begin : begin + stop - start]

    def _of_block(self, block: int) -> Integer[np.ndarray, " rows"]:
        start = block * self._column.block
        slots = self._column.slots[start : start + self._column.block]
        return start + np.flatnonzero(self._is_chosen(slots))


def _added(counts: Iterable[Integer[np.ndarray, " slots"]]) -> Integer[np.ndarray, "blocks slots"]:
    """Return the sums of all counts before each block, and of all blocks."""
    rows = list(counts)
    return np.cumsum([np.zeros_like(rows[0]), *rows], axis=0)


def slot_dtype(clusters: int) -> np.dtype[Any]:
    """The type of the slots of this many clusters. Any: one of several integers."""
    return np.min_scalar_type(max(SIDES * clusters - 1, 0))
