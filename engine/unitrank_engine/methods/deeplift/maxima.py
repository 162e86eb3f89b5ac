"""DeepLIFT's rule for maxima, such as max pooling, as backward passes.

Each candidate's slope is the share of the line between the two runs on which it is the highest.
"""

from collections.abc import Callable, Sequence
from functools import partial
from math import prod
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx
from torch.nn import functional

from unitrank_engine.methods.deeplift.envelope import shares
from unitrank_engine.methods.deeplift.operation import Operation, continuous
from unitrank_engine.methods.deeplift.secant import Back


def larger(operation: Operation, at_start: Any, sign: float) -> Back:
    """Two tensors' maximum (`sign` 1) or minimum (`sign` −1).

    Either tensor may be equal in both runs.
    """
    pairs = [operation.both(index) for index in (0, 1)]
    shape = np.broadcast_shapes(*(end.shape for _, end in pairs))
    stacks = [torch.stack([sign * pair[which].expand(shape) for pair in pairs], 1) for which in (0, 1)]
    parts = [part for part, place in zip(shares(*stacks).unbind(1), (0, 1), strict=True) if operation.differs(place)]

    def back(gradient: Tensor) -> list[Tensor]:
        return [(gradient * part).sum_to_size(shape) for part, shape in zip(parts, shapes, strict=True)]

    shapes = [end.shape for end in operation.line_tracked()]
    return back


def along(operation: Operation, at_start: Any, sign: float) -> Back:
    """The maximum (`sign` 1) or minimum (`sign` −1) along axes, or of two tensors."""
    axes = operation.argument(1, [])
    if isinstance(axes, fx.Node):
        return larger(operation, at_start, sign)
    given = [axes] if isinstance(axes, int) else list(axes)
    ((start,), (end,)) = operation.line()
    axes = sorted({axis % end.dim() for axis in given} or range(end.dim()))
    kept = [axis for axis in range(end.dim()) if axis not in axes]
    order, sizes = [*kept, *axes], [end.shape[axis] for axis in kept]

    def candidates(x: Tensor) -> Tensor:
        return x.expand_as(end).permute(order).reshape(prod(sizes), -1, 1)

    part = shares(sign * candidates(start), sign * candidates(end))
    back_order = torch.tensor(order).argsort().tolist()
    laid_out = [*sizes, *(end.shape[axis] for axis in axes)]

    def back(gradient: Tensor) -> tuple[Tensor]:
        return ((part * gradient.reshape(-1, 1, 1)).reshape(laid_out).permute(back_order),)

    return back


def pooled(operation: Operation, at_start: Any, axes: int) -> Back:
    """Max pooling over the last `axes` axes, with or without a second result of indices."""
    kernel, stride, padding, dilation = (
        _each(operation.argument(index, default), axes) for index, default in enumerate(([], [], 0, 1), start=1)
    )

    def windows(axis: int, size: int, out: int) -> list[list[int]]:
        first = [place * (stride or kernel)[axis] - padding[axis] for place in range(out)]
        return [[place + step * dilation[axis] for step in range(kernel[axis])] for place in first]

    return _from_windows(operation, at_start, axes, windows)


def adaptive(operation: Operation, at_start: Any, axes: int) -> Back:
    """Max pooling to a given size; the sizes of its windows may differ by one."""

    def windows(axis: int, size: int, out: int) -> list[list[int]]:
        return [list(range(place * size // out, -(-(place + 1) * size // out))) for place in range(out)]

    return _from_windows(operation, at_start, axes, windows)


Windows = Callable[[int, int, int], list[list[int]]]
"""Takes an axis, its size and the result's size.

Returns the candidates' positions for each element of the result.
"""


def _from_windows(operation: Operation, at_start: Any, axes: int, windows: Windows) -> Back:
    ((start,), (end,)) = operation.line()
    size, out = end.shape[-axes:], continuous(at_start)[0].shape[-axes:]
    index = _positions([windows(axis, size[axis], out[axis]) for axis in range(axes)], size).to(end.device)

    def candidates(x: Tensor) -> Tensor:
        # A candidate outside the image gets a value so low that it never wins. Half precision
        # cannot hold it.
        planes = x.reshape(-1, prod(size)).to(torch.promote_types(x.dtype, torch.float32))
        return functional.pad(planes, (0, 1), value=torch.finfo(planes.dtype).min / 4)[:, index]

    part = shares(candidates(start.expand_as(end)), candidates(end)).to(end.dtype)
    shape = end.shape

    def back(gradient: Tensor) -> tuple[Tensor]:
        spread = (part * gradient.reshape(len(part), 1, -1)).flatten(1)
        planes = spread.new_zeros(len(part), prod(size) + 1).index_add_(1, index.flatten(), spread)
        return (planes[:, :-1].reshape(shape),)

    return back


def _positions(tables: Sequence[list[list[int]]], size: Sequence[int]) -> Tensor:
    """Return positions in the flattened image, `[candidates, places]`.

    The image's number of elements marks a candidate outside the image.
    """
    flat = torch.zeros(1, 1, dtype=torch.long)
    inside = torch.ones(1, 1, dtype=torch.bool)
    for table, length in zip(tables, size, strict=True):
        widest = max(len(row) for row in table)
        axis = torch.tensor([row + [-1] * (widest - len(row)) for row in table]).T
        flat = (flat[:, None, :, None] * length + axis[None, :, None, :]).flatten(2).flatten(0, 1)
        within = (axis >= 0) & (axis < length)
        inside = (inside[:, None, :, None] & within[None, :, None, :]).flatten(2).flatten(0, 1)
    return torch.where(inside, flat, prod(size))


def _each(value: int | Sequence[int], axes: int) -> list[int]:
    values = [value] if isinstance(value, int) else list(value)
    return values * axes if len(values) == 1 else values


RULES: dict[str, Callable[[Operation, Any], Back]] = {
    **{f"aten::max_pool{axes}d{suffix}": partial(pooled, axes=axes) for axes in (1, 2, 3) for suffix in ("", "_with_indices")},
    **{f"aten::adaptive_max_pool{axes}d": partial(adaptive, axes=axes) for axes in (1, 2, 3)},
    "aten::maximum": partial(larger, sign=1.0),
    "aten::minimum": partial(larger, sign=-1.0),
    "aten::amax": partial(along, sign=1.0),
    "aten::amin": partial(along, sign=-1.0),
    "aten::max": partial(along, sign=1.0),
    "aten::min": partial(along, sign=-1.0),
}
