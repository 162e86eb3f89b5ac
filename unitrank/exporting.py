"""Exports a network on this machine: what is written has passed the service's own reader here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from api_schemas.models import Manifest
from unitrank.errors import NotPossible

if TYPE_CHECKING:
    import torch


class ExportRefused(NotPossible):
    """The network cannot be exported as it is, or the service would not let it in."""


def export(module: torch.nn.Module, example_inputs: torch.Tensor | Sequence[Any] | Mapping[str, Any], path: str | Path) -> Manifest:
    """Writes the module, in evaluation mode and for any batch size, to `path`; what comes back lists the layers that jobs may name.

    Example inputs are one argument of forward, its arguments in order, or by name; the first axis of each is the batch. Their
    values do not matter, but that answers are compared on them. The module is left as it was.

    Raises ExportRefused with the line of the model that is in the way, and writes nothing then.
    """
    try:
        from worker import exporting
        from worker.errors import EngineError
    except ImportError as error:
        raise NotPossible(f"to export, PyTorch and the engine are needed: pip install 'unitrank[worker]' ({error})") from error
    try:
        return exporting.export(module, example_inputs, Path(path))
    except EngineError as error:
        raise ExportRefused(error.detail) from error
