"""Checks the arguments of operators that torch's kernels do not check.

- `shapes`: the shapes and types of tensors, for every call in a graph before the graph runs.
- `recurrent`: those of recurrent layers.
- `pooling`: gaps between the elements of a window.
- `sampling`: the modes of `grid_sample`.
- `finite`: the values of real tensors that must be finite, each time the graph runs.
- `positions`: the values of integer tensors that are used as positions, each time the graph runs.
"""

from unitrank_engine.program.contracts.positions import check_positions
from unitrank_engine.program.contracts.shapes import check_shapes

__all__ = ["check_positions", "check_shapes"]
