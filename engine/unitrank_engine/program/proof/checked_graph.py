"""A graph that compares its results with their traces whenever its inputs have new shapes.

The proving run compares at two batch sizes only. A trace can be right at those and wrong at
another, and the batch sizes of a job depend on its request and device.

The comparing run computes the result too, so that it costs no second pass. For five operators it
takes 0.20 ms, once; the graph's code takes 0.04 ms.
"""

from typing import Any

import torch
from torch import Tensor, fx, nn

from unitrank_engine.program.proof.proving_run import ProvingRun

MOST_SIGNATURES = 1000
"""The most shapes that a graph remembers. A job has a few; a warm model serves many jobs."""


class CheckedGraph(fx.GraphModule):
    """A graph module whose call raises EngineError `shape_not_as_traced`.

    The first call with new shapes compares each result with its trace, before the next operator
    runs.
    """

    def __init__(self, root: nn.Module, graph: fx.Graph) -> None:
        super().__init__(root, graph)
        self._compared: set[tuple[Any, ...]] = set()

    # Any: the result is that of the model, a tensor or containers of tensors.
    def __call__(self, *inputs: Any) -> Any:
        signature = _signature(inputs)
        if signature in self._compared:
            return super().__call__(*inputs)
        result = ProvingRun(self, strides=False, written=False).run(*inputs)
        if len(self._compared) >= MOST_SIGNATURES:
            self._compared.clear()
        self._compared.add(signature)
        return result

    def compare(self, *inputs: Any) -> None:
        """Compares for these inputs, unless inputs of the same shapes were compared before."""
        if _signature(inputs) not in self._compared:
            with torch.no_grad():
                self(*inputs)


def _signature(inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    """The shapes and types of tensors, and the other values themselves."""
    return tuple((value.shape, value.dtype) if isinstance(value, Tensor) else value for value in inputs)
