"""Batches of the examples of all clusters, and passes over them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from unitrank_engine.job.batch_size import rows_of_range
from unitrank_engine.job.clusters.rows import Rows
from unitrank_engine.job.context import JobContext
from unitrank_tables.range_result import Arrays, RangeResult, join_results

STAGE = "ablation"


@dataclass(frozen=True)
class ClusterBatch:
    """Examples of one cluster.

    `number`: of the batch in its cluster, from 0.
    `members`: dataset rows of the cluster, of which the batch has those at the positions `here`.
    """

    cluster: int
    number: int
    members: Rows
    here: range

    @property
    def rows(self) -> np.ndarray:
        """The dataset rows of the examples."""
        return np.asarray(self.members[self.here.start : self.here.stop])

    def __len__(self) -> int:
        return len(self.here)


def tested_rows(context: JobContext) -> list[np.ndarray]:
    """Return the dataset rows of each cluster's test examples."""
    return [np.asarray(cluster.rows[halves.tested]) for cluster, halves in zip(context.clusters, context.halves, strict=True)]


def tested_batches(context: JobContext, size: int) -> list[ClusterBatch]:
    """Return the test examples of all clusters, cluster by cluster.

    `size`: examples of a batch, at most.
    """
    return _batches(context.once(tested_rows), size)


def ranking_batches(context: JobContext, size: int) -> list[ClusterBatch]:
    """Return the examples that rank, of all clusters, cluster by cluster.

    `size`: examples of a batch, at most.
    """
    return _batches([_ranking_rows(context, cluster) for cluster in range(len(context.clusters))], size)


def _ranking_rows(context: JobContext, cluster: int) -> Rows:
    rows, halves = context.clusters[cluster].rows, context.halves[cluster]
    if halves.in_sample:
        return rows
    return rows[halves.sides == 0] if context.column is None else context.column.of_side(cluster, 0)


def _batches(rows_of_clusters: Sequence[Rows], size: int) -> list[ClusterBatch]:
    return [
        ClusterBatch(cluster, number, rows, range(start, min(start + size, len(rows))))
        for cluster, rows in enumerate(rows_of_clusters)
        for number, start in enumerate(range(0, len(rows), size))
    ]


def map_batches(
    context: JobContext, batches: Sequence[ClusterBatch], compute: Callable[[ClusterBatch], Arrays], *, operations: float
) -> Arrays:
    """Return the arrays of all batches, which follow each other; empty without batches.

    `compute`: returns the arrays of a batch.
    `operations`: floating-point operations of one example.
    """
    if not batches:
        return {}

    def of_range(part: range) -> RangeResult:
        return join_results([RangeResult(rows=compute(batches[number])) for number in part])

    return context.run_pass(STAGE, ranges_of_batches(context, batches, operations), of_range).rows


def sums_of_clusters(
    context: JobContext,
    stage: str,
    batches: Sequence[ClusterBatch],
    sums: Callable[[ClusterBatch], np.ndarray],
    *,
    operations: float,
) -> dict[int, np.ndarray]:
    """Return for each cluster with batches the sum over its batches.

    `sums`: returns the sum over a batch; the arrays of all batches have the same shape.
    `operations`: floating-point operations of one example.
    """
    if not batches:
        return {}

    def of_range(part: range) -> RangeResult:
        totals: dict[int, np.ndarray] = {}
        for batch in (batches[number] for number in part):
            total = sums(batch)
            totals[batch.cluster] = totals[batch.cluster] + total if batch.cluster in totals else total
        return RangeResult(rows={"cluster": np.array(list(totals)), "sums": np.stack(list(totals.values()))})

    rows = context.run_pass(stage, ranges_of_batches(context, batches, operations), of_range).rows
    return {int(cluster): rows["sums"][rows["cluster"] == cluster].sum(0) for cluster in np.unique(rows["cluster"])}


def ranges_of_batches(context: JobContext, batches: Sequence[ClusterBatch], operations: float) -> list[range]:
    """Return ranges of the numbers of batches.

    `operations`: floating-point operations of one example.
    """
    size = rows_of_range(operations, clusters=0, batch=1, device=context.device)
    ranges, start, rows = list[range](), 0, 0
    for number, batch in enumerate(batches, 1):
        rows += len(batch)
        if rows >= size or number == len(batches):
            ranges.append(range(start, number))
            start, rows = number, 0
    return ranges
