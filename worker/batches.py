"""How many rows go through the model at once: enough to keep it busy, few enough to stay in the caches.

The number follows from the model alone, never from a stopwatch: the same job then does the same sums in the same order,
and its results are equal to the bit.
"""

from math import prod

import torch

from worker.program import Program

CPU_BYTES = 8 * 2**20
"""Values of one pass on a CPU; beyond this the gradient of a convolution slows down (benchmarks/batches.py)."""

CUDA_SHARE = 0.05
"""Share of the device's memory that the values of one pass may take."""

LIMITS = {"cpu": (16, 4096), "cuda": (16, 16384)}


def rows_at_once(program: Program) -> int:
    """Rows of one pass on the program's device."""
    budget = CPU_BYTES
    if program.device.type == "cuda":
        budget = int(torch.cuda.get_device_properties(program.device).total_memory * CUDA_SHARE)
    low, high = LIMITS[program.device.type]
    return max(low, min(high, budget // max(1, bytes_per_row(program))))


def bytes_per_row(program: Program) -> int:
    """Memory of all values that the graph computes for one example."""
    total = 0
    for node in program.module.graph.nodes:
        value = node.meta.get("val")
        if node.op == "call_function" and isinstance(value, torch.Tensor):
            total += prod(size for size in value.shape if not isinstance(size, torch.SymInt)) * value.element_size()
    return total
