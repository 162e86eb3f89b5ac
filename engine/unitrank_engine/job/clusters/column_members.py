"""Memberships that are read from a column, for datasets of very many rows."""

from collections.abc import Sequence

import numpy as np

from unitrank_engine.job.clusters.range_members import RangeMembers
from unitrank_engine.job.clusters.slot_column import SIDES, SlotColumn


class ColumnMembers:
    """Memberships that are read from a column, which has each row in at most one cluster.

    `grouped`: whether the examples are ordered by their clusters, because baselines depend on them.
    """

    def __init__(self, column: SlotColumn, grouped: bool) -> None:
        self._column = column
        self._grouped = grouped

    def __len__(self) -> int:
        return len(self._column)

    def part(self, examples: range) -> RangeMembers:
        """As in `Membership`."""
        return self._of_rows(self._rows(examples))

    def up_to(self, row: int) -> RangeMembers:
        """As in `Membership`."""
        rows = self._rows_up_to(row)
        if self._grouped:
            rows = rows[np.argsort(self._column.slots[rows] // SIDES, kind="stable")]
        return self._of_rows(rows)

    def last_up_to(self, row: int) -> int:
        """As in `Membership`."""
        rows = self._rows_up_to(row)
        if not self._grouped:
            return len(rows) - 1
        last = int(self._column.slots[rows].max()) // SIDES
        return int(self._column.starts[last]) + int(self._column.of_cluster(last).searchsorted(np.array([row + 1]))[0]) - 1

    def bounds(self) -> Sequence[int]:
        """As in `Membership`."""
        return [*self._column.starts.tolist(), len(self)] if self._grouped else [0, len(self)]

    def by_member(self, by_cluster: np.ndarray) -> np.ndarray:
        """As in `Membership`."""
        return self._column.by_row(by_cluster)

    def of_part(self, by_member: np.ndarray, examples: range, part: RangeMembers) -> np.ndarray:
        """As in `Membership`."""
        return np.asarray(by_member[part.rows])

    def _rows_up_to(self, row: int) -> np.ndarray:
        rows = self._column.rows
        return np.asarray(rows[: int(rows.searchsorted(np.array([row + 1]))[0])])

    def _rows(self, examples: range) -> np.ndarray:
        if not self._grouped:
            return np.asarray(self._column.rows[examples.start : examples.stop])
        starts, rows = self._column.starts, list[np.ndarray]()
        first = int(np.searchsorted(starts, examples.start, side="right")) - 1
        for cluster in range(first, int(np.searchsorted(starts, examples.stop))):
            members = self._column.of_cluster(cluster)
            start = int(starts[cluster])
            rows.append(members[max(0, examples.start - start) : examples.stop - start])
        return np.concatenate(rows)

    def _of_rows(self, rows: np.ndarray) -> RangeMembers:
        slots, every = self._column.slots[rows].astype(np.int64), np.arange(len(rows))
        cluster = slots // SIDES
        return RangeMembers(rows, cluster if self._grouped else None, every, cluster, slots % SIDES, every)
