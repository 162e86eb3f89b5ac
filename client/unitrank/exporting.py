"""Exports a network as an archive, and checks the archive with the service's own reader."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unitrank.errors import NotPossible
from unitrank.name_clashes import clash_of
from unitrank.weight_files import whole_weights
from unitrank_schemas.models import Architecture, Manifest

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray


OPERATORS = "UNITRANK_OPERATORS"
"""The environment variable with operators that networks may call beside the list."""


class ExportRefused(NotPossible):
    """The network cannot be exported, or the service would not accept it.

    The message names the line of the model.

    >>> import torch
    >>> import unitrank
    >>> network = torch.nn.Linear(3, 2)
    >>> try:
    ...     unitrank.export(network, torch.zeros(1, 4), folder / "net.pt2")
    ... except unitrank.ExportRefused as error:
    ...     print(error.code)
    not_exportable
    """


def export(
    module: torch.nn.Module, example_inputs: torch.Tensor | NDArray[Any] | Sequence[Any] | Mapping[str, Any], path: str | Path
) -> Manifest:
    """Writes the module, in evaluation mode, as an archive for any batch size.

    The module is not changed.

    Args:
        module: the network.
        example_inputs: one argument of `forward`; a sequence of its arguments; or a mapping of
            arguments by name. The first axis of each is the batch. The values are only used to
            compare the archive's output with the module's. A numpy array becomes a tensor: integers
            of 32 or 64 bits keep their type, other numbers get the type of the module's parameters.
        path: the file to write, such as `net.pt2`.

    Returns the manifest, whose `layers` are those that a job may name. Raises ExportRefused,
    which names the line of the model that cannot be exported; then no file is written. Raises
    NotPossible if PyTorch is not installed.

    >>> import torch
    >>> import unitrank
    >>> from torch import nn
    >>> network = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2))
    >>> manifest = unitrank.export(network, torch.zeros(1, 4), folder / "net.pt2")
    >>> [layer.name for layer in manifest.layers]
    ['input', '0', '1', '2']
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
    """Writes an archive of a Transformers model from a folder that `save_pretrained` wrote.

    The service makes an equal archive from the same two files, `config.json` and
    `model.safetensors`. Weights in several files are joined. No other file is read, and no hub is
    contacted.

    Args:
        folder: the folder with the model.
        path: the archive to write, such as `net.pt2`.
        shape: sizes of the main input without the batch; None: those of the configuration.
        position: index of the token whose output is explained, for a model with one output per
            token; None: the last token of a causal language model.
        inputs: which of `input_ids`, `attention_mask` and `token_type_ids` the model takes;
            None: the first two.

    Returns the manifest as `export` does. Raises NotPossible for a folder that lacks one of the
    files, and ExportRefused.

    >>> import unitrank
    >>> from transformers import BertConfig, BertForSequenceClassification
    >>> sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    >>> BertForSequenceClassification(BertConfig(vocab_size=20, **sizes)).save_pretrained(folder / "bert")
    >>> manifest = unitrank.export_folder(folder / "bert", folder / "bert.pt2", shape=[6])
    >>> manifest.outputs[0].name
    'logits'
    """
    config = _configuration(Path(folder))
    options = {"shape": shape, "position": position, "inputs": inputs}
    arguments = {"config": config, **{name: value for name, value in options.items() if value is not None}}
    with _refusals(), whole_weights(Path(folder)) as weights:
        from unitrank_engine.models import architectures

        manifest = architectures.inspect(Architecture(name="transformers", arguments=arguments), weights, Path(path))
    return Manifest.model_validate(manifest)


def refuse_file(path: Path) -> None:
    """Raises ExportRefused with the kind of the file, which is given instead of a network."""
    with _refusals():
        from unitrank_engine.models.exporting.reasons.recognition import check_module

        check_module(path)


def _tensors(module: Any, examples: Any) -> Any:
    """The examples with each numpy array as a tensor."""
    if isinstance(examples, Mapping):
        return {name: _tensors(module, value) for name, value in examples.items()}
    if isinstance(examples, tuple | list):
        return [_tensors(module, value) for value in examples]
    if not hasattr(examples, "__array_interface__"):
        return examples
    import torch

    try:
        tensor = torch.from_numpy(examples.copy())
    except TypeError as error:
        raise ExportRefused(
            f"an example input is a numpy array of type {examples.dtype}, which torch cannot hold: {error}; "
            "pass numbers, such as float32 or int64",
            code="not_exportable",
        ) from error
    parameters = module.parameters() if isinstance(module, torch.nn.Module) else ()
    dtype = next((parameter.dtype for parameter in parameters if parameter.is_floating_point()), torch.float32)
    return tensor if tensor.dtype in (torch.int64, torch.int32) else tensor.to(dtype)


def _configuration(folder: Path) -> Any:
    try:
        return json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise NotPossible(
            f"{folder} cannot be exported: its config.json cannot be read ({error}); give a folder that save_pretrained wrote"
        ) from error


@contextmanager
def needing_engine() -> Iterator[None]:
    """Raises NotPossible if PyTorch or the engine is not installed."""
    try:
        yield
    except ImportError as error:
        missing = f"PyTorch and the engine are needed, and cannot be imported ({error}): pip install 'unitrank[worker]'"
        raise NotPossible(clash_of(error) or missing, code="not_installed") from error


@contextmanager
def _refusals() -> Iterator[None]:
    """Raises ExportRefused for an error of the engine, and NotPossible without the engine.

    The operators in the environment variable `UNITRANK_OPERATORS` are allowed.
    """
    with needing_engine():
        from unitrank_engine.archive import allow_operators
        from unitrank_engine.errors import EngineError

        try:
            allow_operators(name.strip() for name in os.environ.get(OPERATORS, "").split(",") if name.strip())
        except ValueError as error:
            raise NotPossible(f"{OPERATORS}: {error}", code="unknown_operator") from error
        try:
            yield
        except EngineError as error:
            raise ExportRefused(error.detail, code=error.code) from error
