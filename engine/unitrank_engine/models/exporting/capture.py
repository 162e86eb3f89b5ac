"""Captures a module as an exported program with `torch.export`."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from unitrank_engine.models.exporting.lines import line_of, line_of_fixed_size
from unitrank_engine.models.exporting.quiet import quiet
from unitrank_engine.models.exporting.refusals import refused
from unitrank_engine.models.exporting.regions import detach_regions
from unitrank_engine.torch_private import HigherOrderOperator, tree_map


def captured(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> ExportedProgram:
    """The module as an exported program for any batch size. Raises EngineError `not_exportable`."""
    batch = torch.export.Dim("batch", min=1)
    shapes = tree_map(lambda leaf: {0: batch} if isinstance(leaf, Tensor) and leaf.dim() else None, kwargs or args)
    try:
        with quiet():
            exported = torch.export.export(module, args, kwargs, dynamic_shapes=shapes)
            if any(isinstance(node.target, HigherOrderOperator) for node in exported.graph.nodes):
                # Decomposing inlines regions without gradients, which are separate graphs.
                detach_regions(exported.graph_module)
                exported = exported.run_decompositions({})
    except Exception as error:
        raise refused(str(error), line_of(error) or line_of_fixed_size(module, args, kwargs, shapes)) from error
    return exported


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Puts the module in evaluation mode; at the end, each part gets its old mode again."""
    before = {part: part.training for part in module.modules()}
    module.eval()
    try:
        yield
    finally:
        for part, training in before.items():
            part.training = training
