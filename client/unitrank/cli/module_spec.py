"""What `unitrank export` is told in words: where a network is, what its inputs look like, where its weights are."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from unitrank.cli.user_modules import imported
from unitrank.errors import NotPossible
from unitrank.exporting import needing_engine

if TYPE_CHECKING:
    import torch

ROWS = 2


@contextmanager
def network_of(where: str) -> Iterator[torch.nn.Module]:
    """The network at `net.py:name` or `package.module:name`: a module, or what the name returns when it is called.

    Inside the block the network's code can import what lies beside it. Raises NotPossible.
    """
    with needing_engine():
        # The engine is loaded before the user's modules, so that Python imports none of them instead of the engine.
        from torch import nn

        import unitrank_engine.models.exporting  # noqa: F401

    place, _, name = where.rpartition(":")
    if not place or not name:
        raise NotPossible(f"{where!r} does not say where the network is: write net.py:name or package.module:name")
    with imported(place) as module:
        value = _attribute(module, place, name)
        network = value() if callable(value) and not isinstance(value, nn.Module) else value
        if not isinstance(network, nn.Module):
            kind = type(network).__name__
            raise NotPossible(f"{where} is a {kind}; expected a torch.nn.Module, or a function that returns one")
        yield network


def _attribute(module: ModuleType, place: str, name: str) -> Any:
    value: Any = module
    for part in name.split("."):
        if not hasattr(value, part):
            names = sorted(each for each in vars(value) if not each.startswith("_"))
            raise NotPossible(f"{place} has no {part!r}; it has {', '.join(names[:20]) or 'nothing'}")
        value = getattr(value, part)
    return value


def example_of(words: str) -> torch.Tensor:
    """Two rows of zeros for `3x32x32`, or of another type for `int64:16`; `float32:` has no axis but the batch."""
    with needing_engine():
        import torch

    match = re.fullmatch(r"(?:(\w+):)?((?:[1-9]\d*(?:x[1-9]\d*)*)?)", words)
    dtype = getattr(torch, (match[1] or "float32") if match else "", None)
    if match is None or not isinstance(dtype, torch.dtype):
        raise NotPossible(f"the example {words!r} is not understood: write 3x32x32, or with a type int64:16; the batch is left out")
    shape = [int(size) for size in match[2].split("x") if size]
    return torch.zeros(ROWS, *shape, dtype=dtype)


def load_weights(network: torch.nn.Module, path: Path) -> None:
    """Takes the weights of a safetensors file, which must be those of the network."""
    with needing_engine():
        from safetensors import SafetensorError
        from safetensors.torch import load_file

    try:
        network.load_state_dict(load_file(path))
    except (OSError, SafetensorError) as error:
        raise NotPossible(f"{path} is not a safetensors file: {error}") from error
    except RuntimeError as error:
        raise NotPossible(f"{path} does not hold the weights of this network: {error}") from error
