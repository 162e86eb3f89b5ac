"""Builds networks from installed architectures and the weights that a client sends.

The person who runs the service installs architectures as entry points. A client sends weights, and
never code.

An entry point of the group `unitrank.architectures` names a function. The function is called with
the arguments of the request. It returns a torch.nn.Module and an example of its inputs: one tensor,
a tuple, or a dict by the names of forward's arguments. When the weights have other names than the
module, the function returns another function instead of the module: weights → module.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from unitrank_engine.errors import EngineError, is_out_of_memory
from unitrank_engine.models.exporting import ExampleInputs, export
from unitrank_engine.models.weights import check, reshaping
from unitrank_schemas.base import Json
from unitrank_schemas.models import ARCHITECTURES, Architecture

REFUSED = "architecture_refused"
LONGEST = 500
"""Characters of an architecture's own error that a message quotes, at most."""


@dataclass(frozen=True)
class Built:
    """A network with its weights, and an example of its inputs."""

    module: nn.Module
    example_inputs: ExampleInputs


def inspect(architecture: Architecture, weights: Path, target: Path) -> Json:
    """The manifest of the architecture with these weights. Raises EngineError.

    `weights`: a safetensors file.
    `target`: the path that the clean archive is written to.
    """
    built = build(architecture.name, architecture.arguments, weights)
    return export(built.module, built.example_inputs, target).model_dump(mode="json")


def build(name: str, arguments: Mapping[str, Any], weights: Path) -> Built:
    """The network of an installed architecture with its weights.

    Raises EngineError `architecture_not_found`, `architecture_refused` or `weights_refused`.
    """
    functions = entry_points(group=ARCHITECTURES, name=name)
    if not functions:
        installed = ", ".join(sorted(entry_points(group=ARCHITECTURES).names)) or "none"
        raise EngineError(
            "architecture_not_found", f"architecture '{name}' is not installed where models are inspected; installed: {installed}"
        )
    try:
        module, example_inputs = next(iter(functions)).load()(**arguments)
        if isinstance(module, nn.Module):
            _fill(module, name, weights)
        elif callable(module):
            module = module(_tensors(weights))
    except EngineError:
        raise
    except ImportError as error:
        raise EngineError(
            REFUSED, f"architecture '{name}' needs a package that is not installed where models are inspected: {error}"
        ) from error
    except Exception as error:
        if is_out_of_memory(error):
            raise
        # The installed function can raise any error for arguments that it does not accept.
        kind = type(error).__name__
        reason = f"{kind}: {error}"[:LONGEST]
        raise EngineError(REFUSED, f"architecture '{name}' cannot be built with these arguments: {reason}") from error
    if not isinstance(module, nn.Module):
        kind = type(module).__name__
        raise EngineError(REFUSED, f"architecture '{name}' returned a {kind}; expected a torch.nn.Module")
    return Built(module, example_inputs)


def _fill(module: nn.Module, name: str, path: Path) -> None:
    """Copies the weights into the module; each name and shape must be that of the module.

    Raises EngineError `weights_refused`.
    """
    state = module.state_dict()
    with _readable(), safe_open(path, "pt") as file:
        given = {key: file.get_slice(key).get_shape() for key in file.keys()}  # noqa: SIM118  # the file is not a dict
        _compare(state, given, name)
        with torch.no_grad():
            for key in given:
                state[key].copy_(file.get_tensor(key))


def _tensors(path: Path) -> dict[str, Tensor]:
    with _readable():
        return load_file(path)


@contextmanager
def _readable() -> Iterator[None]:
    try:
        yield
    except (SafetensorError, OSError) as error:
        raise EngineError(
            "weights_refused", f"the weights are not a safetensors file: {error}; save them with safetensors.torch.save_file"
        ) from error


def _compare(state: Mapping[str, Tensor], given: Mapping[str, list[int]], name: str) -> None:
    stored = {_memory(state[key]) for key in given if key in state}
    check(
        f"architecture '{name}'",
        # The file may hold a tied weight under one of its names only.
        missing=[key for key, tensor in state.items() if key not in given and _memory(tensor) not in stored],
        unknown=[key for key in given if key not in state],
        reshaped=[
            reshaping(key, shape, state[key].shape)
            for key, shape in given.items()
            if key in state and list(state[key].shape) != list(shape)
        ],
    )


def _memory(tensor: Tensor) -> tuple[object, ...]:
    """A key that is equal for tensors that share one place in memory."""
    return tensor.data_ptr() or id(tensor), tuple(tensor.shape), tensor.stride()
