"""Older forms of scatters and of histograms by the operators that have derivatives and checks."""

import torch
from torch import Tensor

from unitrank_engine.errors import EngineError

Number = int | float
REDUCTIONS = {"add": "sum", "multiply": "prod"}


def scatter_reduced(x: Tensor, dim: int, index: Tensor, src: Tensor, *, reduce: str) -> Tensor:
    """`scatter` with a reduction."""
    if reduce not in REDUCTIONS:
        raise EngineError("program_refused", f"scatter has the reduction {reduce!r}; expected one of {list(REDUCTIONS)}")
    return x.scatter_reduce(dim, index, src, REDUCTIONS[reduce])


def scatter_value_reduced(x: Tensor, dim: int, index: Tensor, value: Number, *, reduce: str) -> Tensor:
    """`scatter` of one number with a reduction."""
    return scatter_reduced(x, dim, index, x.new_full(index.shape, value), reduce=reduce)


def histc(x: Tensor, bins: int = 100, min: Number = 0, max: Number = 0) -> Tensor:  # the operator's own names
    """The number of values in each of `bins` intervals of one width.

    The counts are constant between the edges of the intervals, so that their derivative is 0.
    """
    if bins < 1 or not min <= max:
        raise EngineError("program_refused", f"histc has {bins} bins from {min} to {max}; expected 1 bin or more, and min <= max")
    values = x.detach().flatten()
    low, high = (torch.aminmax(values)) if min == max else (values.new_full((), min), values.new_full((), max))
    low, high = torch.where(low == high, low - 1, low), torch.where(low == high, high + 1, high)
    inside = (values >= low) & (values <= high)
    places = torch.where(inside, (values - low) * bins / (high - low), 0.0).to(torch.int64).clamp(0, bins - 1)
    return values.new_zeros(bins).scatter_add(0, places, inside.to(values.dtype))
