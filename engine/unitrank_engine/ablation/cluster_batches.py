"""Batches of test examples of all clusters, and passes over them."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from unitrank_engine.job.batch_size import rows_of_range
from unitrank_engine.job.context import JobContext
from unitrank_tables.range_result import RangeResult


@dataclass(frozen=True)
class ClusterBatch:
    """Test examples of one cluster.

    `rows`: the dataset rows of the examples.
    """

    cluster: int
    rows: np.ndarray


def cluster_batches(context: JobContext, size: int) -> list[ClusterBatch]:
    """Return the test examples of all clusters, cluster by cluster.

    `size`: examples of a batch, at most.
    """
    tested = [cluster.rows[halves.tested] for cluster, halves in zip(context.clusters, context.halves, strict=True)]
    return [
        ClusterBatch(cluster, rows[start : start + size])
        for cluster, rows in enumerate(tested)
        for start in range(0, len(rows), size)
    ]


def sums_of_clusters(
    context: JobContext,
    stage: str,
    batches: list[ClusterBatch],
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

    def compute(part: range) -> RangeResult:
        return RangeResult(rows={"sums": np.stack([sums(batches[number]) for number in part])})

    of_batches = context.run_pass(stage, ranges_of_batches(context, batches, operations), compute).rows["sums"]
    clusters = np.array([batch.cluster for batch in batches])
    return {int(cluster): of_batches[clusters == cluster].sum(0) for cluster in np.unique(clusters)}


def ranges_of_batches(context: JobContext, batches: list[ClusterBatch], operations: float) -> list[range]:
    """Return ranges of the numbers of batches.

    `operations`: floating-point operations of one example.
    """
    size = rows_of_range(operations, clusters=0, batch=1, device=context.device)
    ranges, start, rows = list[range](), 0, 0
    for number, batch in enumerate(batches, 1):
        rows += len(batch.rows)
        if rows >= size or number == len(batches):
            ranges.append(range(start, number))
            start, rows = number, 0
    return ranges
