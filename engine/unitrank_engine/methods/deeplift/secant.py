"""An autograd function whose backward pass uses a mean Jacobian instead of the derivative."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

Back = Callable[..., Sequence[Tensor | None]]
"""Takes the gradients of a node's outputs.

Returns the gradients of its inputs, by the mean Jacobian between the two runs.
"""


class Slope:
    """A node's slopes between the two runs, which another baseline replaces.

    `back`: uses the slopes of the last baseline.
    """

    def __init__(self, back: Back) -> None:
        self.back = back

    def __call__(self, *gradients: Tensor) -> Sequence[Tensor | None]:
        return self.back(*gradients)


class Secant(torch.autograd.Function):
    """Returns its outputs unchanged in the forward pass, and calls `back` in the backward pass."""

    @staticmethod
    # Any: autograd's own signature
    def forward(ctx: Any, back: Back, outputs: tuple[Tensor, ...], *inputs: Tensor) -> tuple[Tensor, ...]:
        ctx.back = back
        ctx.set_materialize_grads(True)
        # An alias keeps the strides; `view_as` changes the strides of axes of size 1.
        return tuple(torch.ops.aten.alias.default(output) for output in outputs)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Any, ...]:
        return None, None, *ctx.back(*gradients)


def attach(back: Back, outputs: Sequence[Tensor], inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Return the outputs with `back` as their backward pass to the inputs."""
    result: tuple[Tensor, ...] = Secant.apply(back, tuple(outputs), *inputs)  # type: ignore[no-untyped-call]
    return result
