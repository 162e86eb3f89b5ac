"""Lists the examples of the main pass, and the clusters that each example belongs to."""

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
    """The dataset rows of the examples."""
    cluster: int | None
    """The cluster of the examples when baselines depend on it, else None."""


@dataclass(frozen=True)
class Membership:
    """The examples of the main pass and their memberships.

    A membership is a pair of an example and a cluster. An example in several clusters passes the
    model once, unless its baseline depends on the cluster.

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

    @classmethod
    def of(cls, context: JobContext, grouped: bool) -> "Membership":
        """The memberships of a job. `grouped`: whether baselines depend on the cluster."""
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
        """The indices of the examples of each cluster."""
        order = np.argsort(self.cluster, kind="stable")
        return np.split(self.example[order], np.cumsum(np.bincount(self.cluster))[:-1])

    def first(self, count: int) -> np.ndarray:
        """Whether each membership is one of the first `count` of its cluster."""
        order, sizes = np.argsort(self.cluster, kind="stable"), np.bincount(self.cluster)
        rank = np.empty(len(order), np.int64)
        rank[order] = np.arange(len(order)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        return rank < count

    def batch(self, start: int, stop: int, cluster: int | None) -> MemberBatch:
        """The examples `start` to `stop` as a batch."""
        return MemberBatch(start, stop, self.rows[start:stop], cluster)

    def part(self, examples: range) -> "Membership":
        """The memberships of a range of examples, which are numbered from 0."""
        members, here = self.within(examples.start, examples.stop), slice(examples.start, examples.stop)
        return Membership(
            self.rows[here],
            None if self.groups is None else self.groups[here],
            self.example[members] - examples.start,
            self.cluster[members],
            self.side[members],
        )

    def ranges(self, size: int, batch: int) -> list[range]:
        """Ranges of at least `size` examples, but for the last one.

        The batches of a range are those of all examples. `batch`: rows of a batch, at most.
        """
        ranges, start = list[range](), 0
        for _, stop, _ in self.batches(batch):
            if stop - start >= size or stop == len(self.rows):
                ranges.append(range(start, stop))
                start = stop
        return ranges

    def within(self, start: int, stop: int) -> slice:
        """The range of the memberships of the examples `start` to `stop`."""
        return slice(*np.searchsorted(self.example, [start, stop]))

    def batches(self, size: int) -> Iterator[tuple[int, int, int | None]]:
        """Ranges of examples: start, stop and cluster.

        A range has at most `size` examples.

        When baselines depend on the cluster, a range is within one cluster; else the cluster is
        None.
        """
        changes = [] if self.groups is None else (np.flatnonzero(np.diff(self.groups)) + 1).tolist()
        bounds = [0, *changes, len(self.rows)]
        for begin, end in pairwise(bounds):
            for start in range(begin, end, size):
                yield start, min(start + size, end), None if self.groups is None else int(self.groups[start])
