"""Exports a network on this machine: what is written has passed the service's own reader here."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unitrank.errors import NotPossible
from unitrank.name_clashes import clash_of
from unitrank_schemas.models import Architecture, Manifest

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray


class ExportRefused(NotPossible):
    """The network cannot be exported as it is, or the service would not let it in."""


def export(
    module: torch.nn.Module, example_inputs: torch.Tensor | NDArray[Any] | Sequence[Any] | Mapping[str, Any], path: str | Path
) -> Manifest:
    """Writes the module, in evaluation mode and for any batch size, to `path`; what comes back lists the layers that jobs may name.

    Example inputs are one argument of forward, its arguments in order, or by name; the first axis of each is the batch. Their
    values do not matter, but that answers are compared on them. Arrays of numpy become tensors: integers of 32 and 64 bits as
    they are, other numbers of the module's own kind. The module is left as it was.

    Raises ExportRefused with the line of the model that is in the way, and writes nothing then.
    """
    with _refusals():
        from unitrank_engine.models import exporting

        return exporting.export(module, _tensors(module, example_inputs), Path(path))


def export_folder(
    folder: str | Path,
    path: str | Path,
    *,
    shape: list[int] | None = None,
    position: int | None = None,
    inputs: list[str] | None = None,
) -> Manifest:
    """Writes a model of Transformers from a folder that its `save_pretrained` wrote, as the service makes it from the same files.

    `shape` is that of the main input without the batch, `position` the token whose answer counts where there is one for every
    token, and `inputs` says which of `input_ids`, `attention_mask` and `token_type_ids` there are. Nothing else is read, and no
    hub is asked.

    Raises NotPossible for a folder that lacks one of the files, ExportRefused as `export` does.
    """
    config, weights = _files(Path(folder))
    options = {"shape": shape, "position": position, "inputs": inputs}
    arguments = {"config": config, **{name: value for name, value in options.items() if value is not None}}
    with _refusals():
        from unitrank_engine.models import architectures

        manifest = architectures.inspect(Architecture(name="transformers", arguments=arguments), weights, Path(path))
    return Manifest.model_validate(manifest)


def _tensors(module: Any, examples: Any) -> Any:
    """The same with tensors for arrays."""
    if isinstance(examples, Mapping):
        return {name: _tensors(module, value) for name, value in examples.items()}
    if isinstance(examples, tuple | list):
        return [_tensors(module, value) for value in examples]
    if not hasattr(examples, "__array_interface__"):
        return examples
    import torch

    tensor = torch.from_numpy(examples.copy())
    parameters = module.parameters() if isinstance(module, torch.nn.Module) else ()
    dtype = next((parameter.dtype for parameter in parameters if parameter.is_floating_point()), torch.float32)
    return tensor if tensor.dtype in (torch.int64, torch.int32) else tensor.to(dtype)


def _files(folder: Path) -> tuple[Any, Path]:
    """The configuration, and where the weights are."""
    weights = folder / "model.safetensors"
    if not weights.is_file():
        parts = (folder / "model.safetensors.index.json").is_file()
        reason = "its weights lie in several files" if parts else "it has no model.safetensors"
        raise NotPossible(
            f"{folder} cannot be exported: {reason}; "
            "load the model and write it once more with save_pretrained(folder, max_shard_size='1TB')"
        )
    try:
        return json.loads((folder / "config.json").read_text(encoding="utf-8")), weights
    except (OSError, ValueError) as error:
        raise NotPossible(f"{folder} cannot be exported: its config.json cannot be read: {error}") from error


@contextmanager
def needing_engine() -> Iterator[None]:
    """Raises NotPossible where PyTorch or the engine is not installed."""
    try:
        yield
    except ImportError as error:
        needs = f"for this PyTorch and the engine are needed: pip install 'unitrank[worker]' ({error})"
        raise NotPossible(clash_of(error) or needs, code="not_installed") from error


@contextmanager
def _refusals() -> Iterator[None]:
    """What the engine refuses, in words of this room."""
    with needing_engine():
        from unitrank_engine.errors import EngineError

        try:
            yield
        except EngineError as error:
            raise ExportRefused(error.detail, code=error.code) from error
