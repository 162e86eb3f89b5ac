"""A value of the run at x whose way back is a mean Jacobian instead of the derivative."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

Back = Callable[..., Sequence[Tensor | None]]
"""Gradients of a node's outputs → those of its inputs, by the mean of the Jacobian between the two runs."""


class Secant(torch.autograd.Function):
    """Passes values on as they are and gradients back by the rule that it was given."""

    @staticmethod
    # Any: autograd's own signature
    def forward(ctx: Any, back: Back, outputs: tuple[Tensor, ...], *inputs: Tensor) -> tuple[Tensor, ...]:
        ctx.back = back
        ctx.set_materialize_grads(True)
        return tuple(output.view_as(output) for output in outputs)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Any, ...]:
        return None, None, *ctx.back(*gradients)


def attach(back: Back, outputs: Sequence[Tensor], inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """The outputs, from which autograd goes back to the inputs by `back`."""
    result: tuple[Tensor, ...] = Secant.apply(back, tuple(outputs), *inputs)  # type: ignore[no-untyped-call]
    return result
