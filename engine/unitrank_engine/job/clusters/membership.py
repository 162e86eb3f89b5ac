"""Membership: the examples of the main pass, and the clusters that each of them belongs to."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np

from unitrank_engine.job.context import JobContext


@dataclass(frozen=True)
class MemberBatch:
    """Examples `start` to `stop` of the main pass."""

    start: int
    stop: int
    rows: np.ndarray
    """Their numbers in the dataset."""
    cluster: int | None
    """Theirs, where baselines depend on it."""


@dataclass(frozen=True)
class Membership:
    """The examples of the main pass in order, and the clusters that each belongs to.

    An example is passed once however many clusters it is in, unless its baseline depends on the cluster.
    """

    rows: np.ndarray
    groups: np.ndarray | None
    """The cluster of each example, where its baseline depends on it."""
    example: np.ndarray
    """Of each membership the example, ascending."""
    cluster: np.ndarray
    side: np.ndarray

    @classmethod
    def of(cls, context: JobContext, grouped: bool) -> "Membership":
        rows = np.concatenate([cluster.rows for cluster in context.clusters])
        cluster = np.repeat(np.arange(len(context.clusters)), [len(cluster.rows) for cluster in context.clusters])
        side = np.concatenate([halves.sides for halves in context.halves])
        if grouped:
            return cls(rows, cluster, np.arange(len(rows)), cluster, side)
        unique, example = np.unique(rows, return_inverse=True)
        order = np.argsort(example, kind="stable")
        return cls(unique, None, example[order], cluster[order], side[order])

    @cached_property
    def by_cluster(self) -> list[np.ndarray]:
        """The examples of each cluster."""
        order = np.argsort(self.cluster, kind="stable")
        return np.split(self.example[order], np.cumsum(np.bincount(self.cluster))[:-1])

    def batch(self, start: int, stop: int, cluster: int | None) -> MemberBatch:
        return MemberBatch(start, stop, self.rows[start:stop], cluster)

    def within(self, start: int, stop: int) -> slice:
        """The memberships of these examples."""
        return slice(*np.searchsorted(self.example, [start, stop]))

    def batches(self, size: int) -> Iterator[tuple[int, int, int | None]]:
        """Ranges of examples of at most this size; where baselines depend on the cluster, of one cluster each."""
        changes = [] if self.groups is None else (np.flatnonzero(np.diff(self.groups)) + 1).tolist()
        bounds = [0, *changes, len(self.rows)]
        for begin, end in pairwise(bounds):
            for start in range(begin, end, size):
                yield start, min(start + size, end), None if self.groups is None else int(self.groups[start])
