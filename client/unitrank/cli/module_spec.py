"""What `unitrank export` is told in words: where a network is, what its inputs look like, where its weights are."""

from __future__ import annotations

import importlib
import importlib.util
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unitrank.errors import NotPossible
from unitrank.exporting import needing_engine

if TYPE_CHECKING:
    import torch

ROWS = 2


def module_of(where: str) -> torch.nn.Module:
    """The network at `net.py:name` or `package.module:name`: a module, or what the name returns when it is called."""
    with needing_engine():
        from torch import nn

    place, colon, name = where.rpartition(":")
    if not colon or not place or not name:
        raise NotPossible(f"{where!r} does not say where the network is: write net.py:name or package.module:name")
    found: Any = _imported(place)
    for part in name.split("."):
        if not hasattr(found, part):
            known = sorted(each for each in vars(found) if not each.startswith("_"))
            raise NotPossible(f"{place} has no {part!r}; it has {', '.join(known[:20]) or 'nothing'}")
        found = getattr(found, part)
    if not isinstance(found, nn.Module) and callable(found):
        found = found()
    if not isinstance(found, nn.Module):
        raise NotPossible(f"{where} is a {type(found).__name__}; expected a torch.nn.Module, or a function that returns one")
    return found


def _imported(place: str) -> object:
    if not place.endswith(".py"):
        sys.path.insert(0, "")
        try:
            return importlib.import_module(place)
        except ModuleNotFoundError as error:
            raise NotPossible(f"module {place!r} cannot be imported: {error}") from error
        finally:
            sys.path.remove("")
    path = Path(place)
    if not path.is_file():
        raise NotPossible(f"there is no file {place}")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    sys.path.insert(0, str(path.absolute().parent))
    try:
        spec.loader.exec_module(module)
    except ImportError as error:
        raise NotPossible(f"{place} cannot be imported: {error}") from error
    return module


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
        raise NotPossible(f"{path} is no safetensors file that can be read: {error}") from error
    except RuntimeError as error:
        raise NotPossible(f"{path} does not hold the weights of this network: {error}") from error
