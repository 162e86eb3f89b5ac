"""Makes torch fill new memory, so that no value of another job can be read from it."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

# Any: the setting is a property of the module's class, which mypy does not see.
_deterministic: Any = torch.utils.deterministic


@contextmanager
def filled_memory() -> Iterator[None]:
    """A context manager in which torch fills new memory with NaN, or with the largest number.

    torch offers the fill with its deterministic algorithms only. An operator without a
    deterministic algorithm uses its ordinary algorithm; torch's warning about it is hidden.
    """
    enabled = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    filling = _deterministic.fill_uninitialized_memory
    torch.use_deterministic_algorithms(True, warn_only=True)
    _deterministic.fill_uninitialized_memory = True
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*(deterministic|Deterministic).*", UserWarning)
            yield
    finally:
        _deterministic.fill_uninitialized_memory = filling
        torch.use_deterministic_algorithms(enabled, warn_only=warn_only)


@contextmanager
def unfilled_memory() -> Iterator[None]:
    """A context manager in which torch leaves new memory as it is; its algorithms stay the same."""
    filling = _deterministic.fill_uninitialized_memory
    _deterministic.fill_uninitialized_memory = False
    try:
        yield
    finally:
        _deterministic.fill_uninitialized_memory = filling
