"""Memberships as lists, for clusters that hold their rows."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from unitrank_engine.job.clusters.range_members import RangeMembers
from unitrank_engine.job.context import JobContext


@dataclass(frozen=True)
class ListedMembers:
    """Memberships as lists, for clusters that hold their rows. The fields are as in a range."""

    rows: np.ndarray
    groups: np.ndarray | None
    example: np.ndarray
    cluster: np.ndarray
    side: np.ndarray

    @classmethod
    def of(cls, context: JobContext, grouped: bool) -> "ListedMembers":
        """As `membership_of`."""
        rows = np.concatenate([cluster.rows[:] for cluster in context.clusters])
        cluster = np.repeat(np.arange(len(context.clusters)), [len(cluster.rows) for cluster in context.clusters])
        side = np.concatenate([halves.sides for halves in context.halves])
        if grouped:
            return cls(rows, cluster, np.arange(len(rows)), cluster, side)
        unique, example = np.unique(rows, return_inverse=True)
        order = np.argsort(example, kind="stable")
        return cls(unique, None, example[order], cluster[order], side[order])

    def __len__(self) -> int:
        return len(self.rows)

    def part(self, examples: range) -> RangeMembers:
        """As in `Membership`."""
        here = slice(examples.start, examples.stop)
        members = self._members(examples)
        return RangeMembers(
            self.rows[here],
            None if self.groups is None else self.groups[here],
            self.example[members] - examples.start,
            self.cluster[members],
            self.side[members],
            self._first_passes(here),
        )

    def up_to(self, row: int) -> RangeMembers:
        """As in `Membership`."""
        chosen = self.rows <= row
        number, members = np.cumsum(chosen) - 1, chosen[self.example]
        return RangeMembers(
            self.rows[chosen],
            None if self.groups is None else self.groups[chosen],
            number[self.example[members]],
            self.cluster[members],
            self.side[members],
            number[np.flatnonzero(chosen)] if self.groups is None else number[self._firsts[chosen[self._firsts]]],
        )

    def last_up_to(self, row: int) -> int:
        """As in `Membership`."""
        return int(np.flatnonzero(self.rows <= row)[-1])

    def bounds(self) -> Sequence[int]:
        """As in `Membership`."""
        changes = [] if self.groups is None else (np.flatnonzero(np.diff(self.groups)) + 1).tolist()
        return [0, *changes, len(self.rows)]

    def by_member(self, by_cluster: np.ndarray) -> np.ndarray:
        """As in `Membership`."""
        values = np.empty_like(by_cluster)
        values[np.argsort(self.cluster, kind="stable")] = by_cluster
        return values

    def of_part(self, by_member: np.ndarray, examples: range, part: RangeMembers) -> np.ndarray:
        """As in `Membership`."""
        return by_member[self._members(examples)]

    def _first_passes(self, here: slice) -> np.ndarray:
        """The examples of a range whose row passes for the first time."""
        if self.groups is None:
            return np.arange(here.stop - here.start)
        firsts = self._firsts
        return np.asarray(firsts[(here.start <= firsts) & (firsts < here.stop)] - here.start)

    @cached_property
    def _firsts(self) -> np.ndarray:
        """The first example with each row."""
        return np.unique(self.rows, return_index=True)[1]

    def _members(self, examples: range) -> slice:
        return slice(*np.searchsorted(self.example, [examples.start, examples.stop]))
