"""Captures a module as an exported program with `torch.export`."""

import inspect
import re
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from unitrank_engine.models.exporting.arguments import Arguments
from unitrank_engine.models.exporting.lines import line_of, line_of_fixed_size
from unitrank_engine.models.exporting.preparation import plain_forward, takes_any_keyword
from unitrank_engine.models.exporting.quiet import quiet
from unitrank_engine.models.exporting.reasons.diagnosis import diagnosed
from unitrank_engine.models.exporting.refusals import FIXED_SIZE, by_torch
from unitrank_engine.models.exporting.regions import detach_regions
from unitrank_engine.torch_private import HigherOrderOperator, tree_map

UNKNOWN_TYPE = "not a known type"
"""Part of torch's error for an output that is not a tensor or a container of tensors."""


def captured(module: nn.Module, arguments: Arguments) -> ExportedProgram:
    """The module as an exported program for any batch size. Raises EngineError `not_exportable`."""
    try:
        with quiet():
            exported = _exported(module, arguments)
            if any(isinstance(node.target, HigherOrderOperator) for node in exported.graph.nodes):
                # Decomposing inlines regions without gradients, which are separate graphs.
                detach_regions(exported.graph_module)
                exported = exported.run_decompositions({})
    except Exception as error:
        with quiet():
            refusal = diagnosed(error, module, arguments)
        if refusal is None:
            line = line_of(error) or line_of_fixed_size(lambda: _once(module, arguments))
            refusal = by_torch(error, line)
        raise refusal from error
    # The values of some nodes are not used, such as an empty tensor that only gives a type.
    exported.graph.eliminate_dead_code()
    return exported


def _exported(module: nn.Module, arguments: Arguments) -> ExportedProgram:
    """The program of the first kind of export that works.

    The strict export reads Python code, so that `len(x)` is not a fixed number for it.
    """
    try:
        return _once(module, arguments)
    except Exception as error:
        others = {FIXED_SIZE: {"strict": True}, UNKNOWN_TYPE: {"plain": True}}
        options = next((options for pattern, options in others.items() if re.search(pattern, str(error))), None)
        if options is None:
            raise
        try:
            return _once(module, arguments, **options)
        except Exception:
            # The first error has the user's line.
            raise error from None


def _once(module: nn.Module, arguments: Arguments, *, strict: bool = False, plain: bool = False) -> ExportedProgram:
    args, kwargs = arguments
    needed = plain or takes_any_keyword(module)
    with plain_forward(module, arguments) if needed else nullcontext():
        shapes = _shapes(module, arguments)
        return torch.export.export(module, args, kwargs, dynamic_shapes=shapes, strict=strict)


def _shapes(module: nn.Module, arguments: Arguments) -> dict[str, Any]:
    """For each parameter of `forward`, its arguments with a batch size instead of tensors."""
    batch = torch.export.Dim("batch", min=1)
    args, kwargs = arguments
    bound = inspect.signature(module.forward).bind(*args, **kwargs)
    shapes: dict[str, Any] = tree_map(
        lambda leaf: {0: batch} if isinstance(leaf, Tensor) and leaf.dim() else None, dict(bound.arguments)
    )
    return shapes
