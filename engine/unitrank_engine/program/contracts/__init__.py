"""Checks the arguments of operators that torch's kernels do not check.

- `shapes`: the shapes and types of tensors, for every call in a graph before the graph runs.
- `recurrent`: those of recurrent layers.
"""

from unitrank_engine.program.contracts.shapes import check_shapes

__all__ = ["check_shapes"]
