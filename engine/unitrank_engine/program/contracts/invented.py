"""Lets a model run on invented values that its operators cannot use.

A sequence length, an id with an offset or a column of codes has legal values that the graph does
not name. An inspection runs the model on values of its own. Where these are outside a tensor, the
nearest legal positions take their place; zeros take the place of NaN and infinity. So each operator
behind them runs and is checked. A job has real examples, and raises an error for such values.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor

_faults: ContextVar[list[str] | None] = ContextVar("faults", default=None)


@contextmanager
def invented_values() -> Iterator[list[str]]:
    """Inside, checks replace illegal values by legal ones.

    Yields the list that gets a sentence for each replacement.
    """
    faults: list[str] = []
    token = _faults.set(faults)
    try:
        yield faults
    finally:
        _faults.reset(token)


def is_tolerated(fault: str) -> bool:
    """Whether the values are invented, so that the check replaces them. Records the fault."""
    faults = _faults.get()
    if faults is None:
        return False
    faults.append(fault)
    return True


def unrepeated(values: Tensor) -> Tensor:
    """`values` with one index of each expanded axis, which holds the same values again."""
    if 0 not in values.stride():
        return values
    return values[tuple(slice(0, 1 if step == 0 else None) for step in values.stride())]


def laid_out(values: Tensor, like: Tensor) -> Tensor:
    """`values` in the memory layout of `like`, which the trace expects."""
    return torch.empty_strided(like.shape, like.stride(), dtype=like.dtype, device=like.device).copy_(values)
