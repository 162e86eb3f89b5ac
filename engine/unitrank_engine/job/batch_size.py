"""Decides how many rows go through the model at once.

The number is large enough to keep the device busy, and small enough for a CPU's caches. It depends
on the model alone and never on measured time. So the same job does the same sums in the same order,
and its results are equal to the last bit.
"""

from math import prod

import torch
from torch import fx

from unitrank_engine.program import Program, Split

CPU_BYTES = 8 * 2**20
"""Bytes of the values of one pass on a CPU.

With more, the gradient of a convolution slows down (benchmarks/batches.py).
"""

CUDA_SHARE = 0.05
"""Share of the device's memory that the values of one pass may take."""

LIMITS = {"cpu": (16, 4096), "cuda": (16, 16384)}
"""The smallest and the largest number of rows, by device."""

RANGE_OPERATIONS = {"cpu": 2**31, "cuda": 2**40}
"""Floating-point operations of one range, at least."""
MOST_ROWS = 2**17
"""Rows of one range, at most, unless it has many clusters: a range holds values of each row."""
ROWS_PER_CLUSTER = 320
"""Rows of a range for each cluster, at least.

The sums of a range take as long as 80 rows for each cluster: two halves of four float64 powers, and
the groups of the bootstrap.
"""


def rows_at_once(program: Program) -> int:
    """The rows of one pass through the whole model."""
    low, high = LIMITS[program.device.type]
    return max(low, min(high, _budget(program.device) // max(1, bytes_per_row(program.module.graph))))


def rows_behind(split: Split, device: torch.device) -> int:
    """The rows of one pass through the tail of `split`, in half of the memory of `rows_at_once`.

    Passes through a tail follow each other closely. Measured with values that do not fit the
    caches: a pass with twice the rows took three times as long.
    """
    h_bytes = split.place.units * int(split.place.node.meta["val"].element_size())
    return max(LIMITS[device.type][0], _budget(device) // 2 // max(1, bytes_per_row(split.behind.graph) + h_bytes))


def rows_of_range(operations: float, *, clusters: int, batch: int, device: torch.device) -> int:
    """The rows of one range of a pass, at least one batch.

    `operations`: floating-point operations of one row. Where the ranges' results are added, these
        must not depend on the job's methods: a method's sums would depend on the other methods.
    `clusters`: the clusters whose sums each range gives; 0 where it gives none.
    `batch`: the rows of a batch.
    """
    rows = min(int(RANGE_OPERATIONS[device.type] / max(1.0, operations)), MOST_ROWS)
    rows = max(rows, ROWS_PER_CLUSTER * clusters)
    return -(-rows // batch) * batch


def _budget(device: torch.device) -> int:
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory * CUDA_SHARE)
    return CPU_BYTES


def bytes_per_row(graph: fx.Graph) -> int:
    """The bytes of all values that a graph computes for one example."""
    total = 0
    for node in graph.nodes:
        value = node.meta.get("val")
        if node.op == "call_function" and isinstance(value, torch.Tensor):
            total += prod(size for size in value.shape if not isinstance(size, torch.SymInt)) * value.element_size()
    return total
