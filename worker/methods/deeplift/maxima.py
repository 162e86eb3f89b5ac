"""Maxima: each candidate gets the share of the line between the two runs on which it wins."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from worker.methods.deeplift.operation import Operation
from worker.methods.deeplift.secant import attach


def shares(
    start: Float[Tensor, "rows candidates *rest"], end: Float[Tensor, "rows candidates *rest"]
) -> Float[Tensor, "rows candidates *rest"]:
    """Of t from 0 to 1, the part on which each candidate's line start + t·(end − start) is the highest.

    Exact: a line lies above another on one side of where they meet. Of equal lines the first wins.
    """
    change = end - start
    low, high = torch.zeros_like(change), torch.ones_like(change)
    order = torch.arange(change.shape[1], device=change.device).reshape(-1, *[1] * (change.dim() - 2))
    for rival in range(change.shape[1]):
        ahead = start - start[:, rival : rival + 1]
        gain = change - change[:, rival : rival + 1]
        meeting = -ahead / torch.where(gain == 0, torch.ones_like(gain), gain)
        low = torch.where(gain > 0, torch.maximum(low, meeting), low)
        high = torch.where(gain < 0, torch.minimum(high, meeting), high)
        beaten = (gain == 0) & ((ahead < 0) | ((ahead == 0) & (order > rival)))
        high = torch.where(beaten, torch.full_like(high, -1.0), high)
    won = (high - low).clamp_min(0)
    return won / won.sum(1, keepdim=True)


def pooled(operation: Operation) -> Any:
    """Max pooling over two axes, of images with or without a result of indices."""
    ((start,), (end,)) = operation.line()
    values = operation.at_end_detached()
    result = operation.real(values)[0]
    windows = Windows(_settings(operation), start.shape[-2:], result.shape[-2:])
    part = shares(windows.unfold(start.expand_as(end)), windows.unfold(end))

    def back(gradient: Tensor) -> tuple[Tensor]:
        return (windows.fold(part * gradient.reshape(len(part), 1, -1), end),)

    return operation.rebuilt(values, attach(back, [result], operation.line_tracked()))


def larger(operation: Operation) -> Any:
    """The larger, or by their signs the smaller, of two tensors."""
    starts, ends = operation.line()
    values = operation.at_end_detached()
    sign = 1.0 if "max" in operation.name else -1.0
    stacked = [torch.stack([sign * each.expand_as(values) for each in both], 1) for both in (starts, ends)]
    part = shares(*stacked).unbind(1)

    def back(gradient: Tensor) -> list[Tensor]:
        return [(gradient * share).sum_to_size(end.shape) for share, end in zip(part, ends, strict=True)]

    return operation.rebuilt(values, attach(back, [values], operation.line_tracked()))


RULES: dict[str, Callable[[Operation], Any]] = {
    "aten::max_pool2d": pooled,
    "aten::max_pool2d_with_indices": pooled,
    "aten::maximum": larger,
    "aten::minimum": larger,
}


class Windows:
    """The windows of a pooling as candidates for each result, and back."""

    def __init__(self, settings: Sequence[tuple[int, int]], size: Sequence[int], out: Sequence[int]) -> None:
        kernel, stride, padding, dilation = settings
        self.kernel, self.stride, self.dilation = kernel, stride, dilation
        reach = [(n - 1) * s + d * (k - 1) + 1 for n, s, d, k in zip(out, stride, dilation, kernel, strict=True)]
        # a ceiling lets the last window end behind the image
        far = [max(0, each - int(length) - pad) for each, length, pad in zip(reach, size, padding, strict=True)]
        self.pads = [padding[1], far[1], padding[0], far[0]]
        self.size = int(size[0]) + padding[0] + far[0], int(size[1]) + padding[1] + far[1]

    def unfold(self, x: Float[Tensor, "*rows height width"]) -> Float[Tensor, "planes candidates places"]:
        # so low that it never wins, and finite, so that no difference is NaN
        planes = functional.pad(x, self.pads, value=torch.finfo(x.dtype).min / 4).reshape(-1, 1, *self.size)
        return functional.unfold(planes, self.kernel, self.dilation, 0, self.stride)

    def fold(self, candidates: Float[Tensor, "planes candidates places"], like: Tensor) -> Tensor:
        planes = functional.fold(candidates, self.size, self.kernel, self.dilation, 0, self.stride)
        left, right, top, bottom = self.pads
        inner = planes[..., top : self.size[0] - bottom, left : self.size[1] - right]
        return inner.reshape(like.shape)


def _settings(operation: Operation) -> list[tuple[int, int]]:
    """Kernel, stride, padding and dilation."""
    kernel, stride, padding, dilation = (
        operation.argument(index, default) for index, default in enumerate(([], [], 0, 1), start=1)
    )
    return [_two(kernel), _two(stride or kernel), _two(padding), _two(dilation)]


def _two(value: int | Sequence[int]) -> tuple[int, int]:
    values = [value] if isinstance(value, int) else list(value)
    return values[0], values[-1]
