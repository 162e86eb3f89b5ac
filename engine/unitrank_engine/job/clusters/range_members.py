"""The memberships of a range of examples, in batches."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np


@dataclass(frozen=True)
class MemberBatch:
    """Examples `start` to `stop` of a range."""

    start: int
    stop: int
    rows: np.ndarray
    """The dataset rows of the examples."""
    cluster: int | None
    """The cluster of the examples when baselines depend on it, else None."""


@dataclass(frozen=True)
class RangeMembers:
    """The memberships of a range of examples, which are numbered from 0.

    `rows`: the dataset row of each example.
    `cluster`, `side`: the cluster of each membership, and the half of that cluster (0 or 1).
    """

    rows: np.ndarray
    groups: np.ndarray | None
    """The cluster of each example when baselines depend on it, else None."""
    example: np.ndarray
    """The index of the example of each membership, ascending."""
    cluster: np.ndarray
    side: np.ndarray
    first_passes: np.ndarray
    """The examples whose row passes the model for the first time, in the order of the rows."""

    def members_of_clusters(self) -> dict[int, np.ndarray]:
        """Cluster → the indices of its examples, for the clusters that have some."""
        order = np.argsort(self.cluster, kind="stable")
        clusters, starts = np.unique(self.cluster[order], return_index=True)
        return dict(zip(clusters.tolist(), np.split(self.example[order], starts[1:]), strict=True))

    def batch(self, start: int, stop: int, cluster: int | None) -> MemberBatch:
        """The examples `start` to `stop` as a batch."""
        return MemberBatch(start, stop, self.rows[start:stop], cluster)

    def within(self, start: int, stop: int) -> slice:
        """The range of the memberships of the examples `start` to `stop`."""
        return slice(*np.searchsorted(self.example, [start, stop]))

    def batches(self, size: int) -> Iterator[tuple[int, int, int | None]]:
        """As `Membership.batches`."""
        changes = [] if self.groups is None else (np.flatnonzero(np.diff(self.groups)) + 1).tolist()
        for start, stop in pieces([0, *changes, len(self.rows)], size):
            yield start, stop, None if self.groups is None else int(self.groups[start])


def pieces(bounds: Sequence[int], size: int) -> Iterator[tuple[int, int]]:
    """Starts and stops of pieces of at most `size` examples that do not cross the bounds."""
    for begin, end in pairwise(bounds):
        for start in range(begin, end, size):
            yield start, min(start + size, end)
