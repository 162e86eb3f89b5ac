"""Padding without negative pads and without the circular kernel.

torch lists pads from the last axis on: [left, right] of the last axis, then of the axis before it.
A negative pad removes values; it becomes a slice. Circular padding becomes a concatenation.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from unitrank_engine.errors import EngineError
from unitrank_engine.torch_private import OpOverload

aten = torch.ops.aten

_KERNELS: dict[str, dict[int, OpOverload]] = {
    "reflect": {2: aten.reflection_pad1d.default, 4: aten.reflection_pad2d.default, 6: aten.reflection_pad3d.default},
    "replicate": {2: aten.replication_pad1d.default, 4: aten.replication_pad2d.default, 6: aten.replication_pad3d.default},
}


def pad(x: Tensor, pads: Sequence[int], mode: str = "constant", value: float | None = None) -> Tensor:
    """`aten.pad`: its result by slices, concatenations and kernels whose pads are not negative.

    Raises EngineError `program_refused` for a pad that is longer than the axis allows.
    """
    inner = _cut(x, pads)
    outer = [max(amount, 0) for amount in pads]
    if mode == "constant":
        filled: Tensor = aten.constant_pad_nd.default(inner, outer, 0.0 if value is None else value)
        return filled
    if mode == "circular":
        return _wrapped(inner, outer)
    kernel = _KERNELS.get(mode, {}).get(len(outer))
    if kernel is None:
        raise EngineError(
            "program_refused",
            f"aten.pad has the mode {mode!r} with {len(outer)} pads; "
            "expected constant, circular, or reflect or replicate with 2, 4 or 6 pads",
        )
    padded: Tensor = kernel(inner, outer)
    return padded


def pad_by_operator(operator: OpOverload) -> Callable[..., Any]:
    """A function that computes `operator` for negative pads, and keeps it for other pads."""

    def padded(x: Tensor, pads: Sequence[int], *rest: Any) -> Any:
        if not any(amount < 0 for amount in _fixed(pads)):
            return NotImplemented
        return operator(_cut(x, pads), [max(amount, 0) for amount in pads], *rest)

    return padded


def _cut(x: Tensor, pads: Sequence[int]) -> Tensor:
    """The values that negative pads leave."""
    for axis, left, right in _by_axis(x, pads):
        length = x.shape[axis]
        if left < 0 or right < 0:
            start, stop = max(-left, 0), length - max(-right, 0)
            if not start <= stop:
                raise EngineError(
                    "program_refused",
                    f"negative pads {left} and {right} remove more than the {length} values of axis {axis}; "
                    "expected pads that leave the axis its values",
                )
            x = aten.slice.Tensor(x, axis, start, stop)
    return x


def _wrapped(x: Tensor, pads: Sequence[int]) -> Tensor:
    """Each axis with its last values before it and its first values after it."""
    for axis, left, right in _by_axis(x, pads):
        length = x.shape[axis]
        if not max(left, right) <= length:
            raise EngineError(
                "program_refused",
                f"circular pads {left} and {right} are longer than axis {axis} with {length} values; "
                "expected pads up to the length of the axis",
            )
        before = [aten.slice.Tensor(x, axis, length - left, length)] if left else []
        after = [aten.slice.Tensor(x, axis, 0, right)] if right else []
        if before or after:
            x = aten.cat.default([*before, x, *after], axis)
    return x


def _by_axis(x: Tensor, pads: Sequence[int]) -> Iterator[tuple[int, int, int]]:
    """Each axis that is padded, with its left and its right pad."""
    pads = _fixed(pads)
    if len(pads) % 2 or len(pads) > 2 * x.dim():
        raise EngineError(
            "program_refused",
            f"{len(pads)} pads are given for {x.dim()} axes; expected two pads for each axis that is padded",
        )
    for index in range(0, len(pads), 2):
        yield x.dim() - 1 - index // 2, pads[index], pads[index + 1]


def _fixed(pads: Sequence[int]) -> list[int]:
    if not all(type(amount) is int for amount in pads):
        raise EngineError("program_refused", "a pad depends on the size of the batch; expected fixed pads")
    return list(pads)
