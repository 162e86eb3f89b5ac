"""Checks shapes that torch's kernels do not check: with a wrong one they read beyond a tensor.

The memory behind a tensor can hold the data of another job. The checks read the shapes that torch
computed when it traced the graph again after loading, because the shapes in an upload can be false.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import fx

from unitrank_engine.errors import EngineError
from unitrank_engine.program.contracts.pooling import POOLS, check_pool
from unitrank_engine.program.contracts.recurrent import CELLS, LAYERS, check_cell, check_layer
from unitrank_engine.program.contracts.sampling import SAMPLERS, check_sampler
from unitrank_engine.torch_private import argument_names

aten = torch.ops.aten

# The arguments of a call by name. Any: nodes, numbers or None.
Arguments = Mapping[str, Any]


def check_shapes(graph: fx.Graph) -> None:
    """Raises EngineError, for example `weights_refused`, for a call that leaves its tensors."""
    for node in graph.nodes:
        check = _CHECKS.get(node.target)
        if check is not None:
            names = argument_names(node.target)
            check(node, dict(zip(names, node.args, strict=False)) | node.kwargs)


def _batch_norm(node: fx.Node, arguments: Arguments) -> None:
    channels = _shape(arguments["input"])[1:2]
    if channels == ["0"]:
        # The gradient's kernel divides by the number of channels, which ends the process.
        raise _refusal(node, "input has no channels", "at least one channel")
    for name in ("weight", "bias", "running_mean", "running_var"):
        if arguments.get(name) is not None and _shape(arguments[name]) != channels:
            raise _refusal(node, f"{name} has the shape {_shape(arguments[name])}", f"one number for each channel, {channels}")


def _attention(node: fx.Node, arguments: Arguments) -> None:
    key, value = _shape(arguments["key"]), _shape(arguments["value"])
    if key[-2:-1] != value[-2:-1]:
        raise _refusal(node, f"key has the shape {key} and value has the shape {value}", "one value for each key")


_CHECKS: dict[object, Callable[..., None]] = {
    aten._native_batch_norm_legit_no_training.default: _batch_norm,
    aten.scaled_dot_product_attention.default: _attention,
    **dict.fromkeys(POOLS, check_pool),
    **dict.fromkeys(SAMPLERS, check_sampler),
    **dict.fromkeys(LAYERS, check_layer),
    **dict.fromkeys(CELLS, check_cell),
}


def _shape(node: fx.Node) -> list[str]:
    # As text, because comparing a symbolic batch size would turn the symbol into a number.
    return [str(size) for size in node.meta["val"].shape]


def _refusal(node: fx.Node, fault: str, expected: str) -> EngineError:
    return EngineError("weights_refused", f"{node.name} ({node.target}): {fault}; expected {expected}")
