"""Reads the arguments of `unitrank export`: a network, the shape of its inputs, and its weights."""

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
def network_of(spec: str) -> Iterator[torch.nn.Module]:
    """Yields the network that `spec` names, as `net.py:name` or `package.module:name`.

    The name is a torch.nn.Module, or a function that returns one. Inside the block the network's
    code can import other files of its folder. Raises NotPossible.
    """
    with needing_engine():
        # The engine is imported first: a user's module of the same name cannot take its place.
        from torch import nn

        import unitrank_engine.models.exporting  # noqa: F401

    source, _, name = spec.rpartition(":")
    if not source or not name:
        raise NotPossible(f"the network {spec!r} is invalid: write net.py:name or package.module:name")
    with imported(source) as module:
        value = _attribute(module, source, name)
        network = value() if callable(value) and not isinstance(value, nn.Module) else value
        if not isinstance(network, nn.Module):
            kind = type(network).__name__
            raise NotPossible(f"{spec} has the type {kind}; give a torch.nn.Module, or a function that returns one")
        yield network


def _attribute(module: ModuleType, source: str, name: str) -> Any:
    value: Any = module
    for part in name.split("."):
        if not hasattr(value, part):
            names = sorted(attribute for attribute in vars(value) if not attribute.startswith("_"))
            raise NotPossible(f"{source} has no {part!r}; it has {', '.join(names[:20]) or 'no public names'}")
        value = getattr(value, part)
    return value


def example_of(text: str) -> torch.Tensor:
    """Two rows of zeros with the shape and type of `text`. Raises NotPossible.

    `3x32x32` has the type float32, `int64:16` the type int64. `float32:` has only the batch axis.
    """
    with needing_engine():
        import torch

    match = re.fullmatch(r"(?:(\w+):)?((?:[1-9]\d*(?:x[1-9]\d*)*)?)", text)
    dtype = getattr(torch, (match[1] or "float32") if match else "", None)
    if match is None or not isinstance(dtype, torch.dtype):
        raise NotPossible(
            f"the example {text!r} is invalid: write the sizes without the batch, with x between them, such as 3x32x32, "
            "with a type in front if it is not float32, such as int64:16"
        )
    shape = [int(size) for size in match[2].split("x") if size]
    return torch.zeros(ROWS, *shape, dtype=dtype)


def load_weights(network: torch.nn.Module, path: Path) -> None:
    """Loads a safetensors file into the network. Raises NotPossible if it does not fit."""
    with needing_engine():
        from safetensors import SafetensorError
        from safetensors.torch import load_file

    try:
        network.load_state_dict(load_file(path))
    except (OSError, SafetensorError) as error:
        raise NotPossible(
            f"{path} cannot be read as a safetensors file: {error}; write it with safetensors.torch.save_file"
        ) from error
    except RuntimeError as error:
        raise NotPossible(f"{path} does not fit the network, whose weights it must hold: {error}") from error
