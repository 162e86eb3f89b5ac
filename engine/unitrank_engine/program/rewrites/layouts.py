"""Operators whose result has another memory layout than torch 2.13 traces.

They do for values whose axes are permuted, such as a batch norm of `x.transpose(1, 2)`. Values with
their axes in order have the traced layout.
"""

from collections.abc import Callable
from typing import Any

from torch import Tensor

from unitrank_engine.torch_private import OpOverload


def in_order(operator: OpOverload, *, axes: int) -> Callable[..., Any]:
    """The operator on a copy of its first argument with all axes in order.

    `axes`: the number of axes of the values that need the copy. Other values need none.
    """

    # Any: the operator's arguments and results.
    def call(x: Tensor, *args: Any, **kwargs: Any) -> Any:
        if x.dim() != axes or x.is_contiguous():
            return NotImplemented
        return operator(x.contiguous(), *args, **kwargs)

    return call
