"""Rescale, of every operator that works element by element: the slope between the two runs."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

_NAMES = """
    relu relu6 gelu silu sigmoid tanh hardswish hardsigmoid hardtanh leaky_relu elu selu celu mish softplus log_sigmoid
    threshold hardshrink softshrink rrelu prelu clamp clamp_min clamp_max abs sign round floor ceil trunc
    exp expm1 exp2 log log1p log2 log10 sqrt rsqrt reciprocal square pow div sin cos tan sinh cosh atan asinh erf erfc logit
"""
POINTWISE = frozenset(f"aten::{name}" for name in _NAMES.split())
"""Where only one tensor differs between the runs, and has the shape of the result."""


def slope(
    op: Callable[[Tensor], Tensor], start: Float[Tensor, "..."], end: Float[Tensor, "..."], out: tuple[Tensor, Tensor]
) -> Float[Tensor, "..."]:
    """Δout/Δin with the results `out` at both ends, and the derivative at the midpoint where Δin is too small to divide by.

    Below √eps of the values' own size the quotient has lost half of its digits, and the derivative is as good: a kink at
    zero cannot lie between two values so near to each other, because they have one sign.
    """
    change = end - start
    near = change.abs() <= torch.finfo(end.dtype).eps ** 0.5 * (start.abs() + end.abs())
    quotient = (out[1] - out[0]) / torch.where(near, torch.ones_like(change), change)
    return torch.where(near, derivative(op, (start + end) / 2), quotient)


def derivative(op: Callable[[Tensor], Tensor], point: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """Of an operator that works element by element."""
    with torch.enable_grad():
        leaf = point.detach().requires_grad_()
        value = op(leaf)
        if not value.requires_grad:
            return torch.zeros_like(point)
        return torch.autograd.grad(value.sum(), leaf, materialize_grads=True)[0]
