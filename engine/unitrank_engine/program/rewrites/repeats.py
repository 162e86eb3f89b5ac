"""`repeat_interleave` with a count for each position, as a look-up of positions."""

from typing import Any

import torch
from torch import Tensor


def repeat_interleave(x: Tensor, repeats: Tensor, dim: int | None = None, output_size: int | None = None) -> Any:
    """Each slice of axis `dim` as often as its number in `repeats`.

    The kernel of a GPU does not compare the sum of `repeats` with `output_size`. The look-up is
    checked like every look-up. Any: NotImplemented without `output_size`.
    """
    if output_size is None:
        return NotImplemented
    if dim is None:
        x, dim = x.flatten(), 0
    ends = repeats.expand(x.shape[dim]).cumsum(0)
    positions = torch.searchsorted(ends, torch.arange(output_size, device=x.device), right=True)
    return x.index_select(dim, positions)
