"""Max unpooling as a scatter, whose positions are checked like those of every scatter."""

from collections.abc import Sequence

from torch import Tensor

from unitrank_engine.errors import EngineError


def max_unpool2d(x: Tensor, indices: Tensor, output_size: Sequence[int]) -> Tensor:
    """Zeros of the size `output_size`, with the values of `x` at `indices` of each image."""
    return _unpooled(x, indices, output_size)


def max_unpool3d(x: Tensor, indices: Tensor, output_size: Sequence[int], stride: Sequence[int], padding: Sequence[int]) -> Tensor:
    """As `max_unpool2d`, for volumes. `stride`, `padding`: unused, because `indices` decide."""
    return _unpooled(x, indices, output_size)


def _unpooled(x: Tensor, indices: Tensor, output_size: Sequence[int]) -> Tensor:
    axes = len(output_size)
    if x.dim() <= axes or indices.dim() != x.dim():
        raise EngineError(
            "program_refused",
            f"max_unpool{axes}d: the input has {x.dim()} axes and indices has {indices.dim()}; "
            f"expected {axes + 1} or {axes + 2} axes for both",
        )
    size = 1
    for each in output_size:
        size *= each
    zeros = x.new_zeros([*x.shape[:-axes], size])
    placed = zeros.scatter(-1, indices.flatten(-axes), x.flatten(-axes))
    return placed.reshape([*x.shape[:-axes], *output_size])
