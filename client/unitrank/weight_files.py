"""The weights of a folder that Transformers' `save_pretrained` wrote, as one file."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from unitrank.errors import NotPossible

if TYPE_CHECKING:
    import torch

WHOLE = "model.safetensors"
INDEX = "model.safetensors.index.json"


@contextmanager
def whole_weights(folder: Path) -> Iterator[Path]:
    """Yields the path of `model.safetensors`.

    If the weights are in several files, a file with all of them is made, and deleted after the
    block. Raises NotPossible if a file is absent, or lacks weights that the index names.
    """
    if (folder / WHOLE).is_file():
        yield folder / WHOLE
        return
    if not (folder / INDEX).is_file():
        raise NotPossible(f"{folder} cannot be exported: it has no {WHOLE}; give a folder that save_pretrained wrote")
    with tempfile.TemporaryDirectory(prefix="unitrank-") as name:
        _join(folder, _weight_map(folder), Path(name, WHOLE))
        yield Path(name, WHOLE)


def _weight_map(folder: Path) -> dict[str, str]:
    """Name of a weight → name of the file in the folder that holds the weight."""
    try:
        entries = json.loads((folder / INDEX).read_text(encoding="utf-8"))["weight_map"]
        names = {str(weight): str(file) for weight, file in entries.items()}
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise NotPossible(f"{folder / INDEX} cannot be read as an index of weights: {type(error).__name__}: {error}") from error
    for file in sorted(set(names.values())):
        if Path(file).name != file or not (folder / file).is_file():
            raise NotPossible(f"{folder / INDEX} names the file {file!r}, which is not in the folder; copy all files of the model")
    return names


def _join(folder: Path, weight_map: dict[str, str], path: Path) -> None:
    """Write all weights into one file."""
    from safetensors import SafetensorError, safe_open
    from safetensors.torch import save_file

    weights: dict[str, torch.Tensor] = {}
    for file in sorted(set(weight_map.values())):
        try:
            with safe_open(folder / file, "pt") as opened:
                weights |= {weight: opened.get_tensor(weight) for weight, holder in weight_map.items() if holder == file}
        except SafetensorError as error:
            raise NotPossible(f"{folder / file} does not hold the weights that {INDEX} names: {error}") from error
    save_file(weights, path)
