"""Lists the examples of the main pass, and the clusters that each example belongs to.

A membership is a pair of an example and a cluster. An example in several clusters passes the model
once, unless its baseline depends on the cluster: then it is an example of each cluster.
"""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np

from unitrank_engine.job.clusters.column_members import ColumnMembers
from unitrank_engine.job.clusters.listed_members import ListedMembers
from unitrank_engine.job.clusters.range_members import RangeMembers, pieces
from unitrank_engine.job.context import JobContext


@runtime_checkable
class Membership(Protocol):
    """The examples of a main pass and their memberships."""

    def __len__(self) -> int:
        """The number of examples."""

    def part(self, examples: range) -> RangeMembers:
        """The memberships of a range of examples."""

    def up_to(self, row: int) -> RangeMembers:
        """The memberships of the examples whose dataset row is at most `row`."""

    def last_up_to(self, row: int) -> int:
        """The last example whose dataset row is at most `row`."""

    def bounds(self) -> Sequence[int]:
        """The first example of each part that batches must not cross, and the number of all."""

    def by_member(self, by_cluster: np.ndarray) -> np.ndarray:
        """Values of memberships in the order that `of_part` needs.

        `by_cluster`: the values of the rows of the first cluster, then of the second one, …
        """

    def of_part(self, by_member: np.ndarray, examples: range, part: RangeMembers) -> np.ndarray:
        """The values of the memberships of a range, from those of all memberships."""


def membership_of(context: JobContext, grouped: bool) -> Membership:
    """The memberships of a job. `grouped`: whether baselines depend on the cluster."""
    return ListedMembers.of(context, grouped) if context.column is None else ColumnMembers(context.column, grouped)


def ranges_of_examples(membership: Membership, size: int, batch: int) -> list[range]:
    """Ranges of at least `size` examples, but for the last one.

    The batches of a range are those of all examples. `batch`: rows of a batch, at most.
    """
    ranges, start = list[range](), 0
    for _, stop in pieces(membership.bounds(), batch):
        if stop - start >= size or stop == len(membership):
            ranges.append(range(start, stop))
            start = stop
    return ranges
