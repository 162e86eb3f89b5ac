"""Compares the outputs of an archive with those of its module."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from unitrank_engine.errors import EngineError
from unitrank_engine.models.exporting.lines import line_of
from unitrank_engine.models.exporting.refusals import CODE, refused
from unitrank_engine.program import Program
from unitrank_engine.torch_private import tree_leaves

CLOSE = 1e-4
"""The accepted difference between the outputs of archive and module.

It is relative to the largest value.
"""


def outputs_of(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Tensor]:
    """The tensors that the module returns. Raises EngineError if it does not run.

    `torch.export` accepts some inputs on which the module fails, such as integers for a dense
    layer.
    """
    try:
        outputs = module(*args, **kwargs)
    except Exception as error:
        raise refused(f"it does not run on the example inputs: {error}", line_of(error)) from error
    return [leaf for leaf in tree_leaves(outputs) if isinstance(leaf, Tensor)]


def check_outputs(
    program: Program, exported: ExportedProgram, args: tuple[Any, ...], kwargs: dict[str, Any], outputs: list[Tensor]
) -> None:
    """Raises EngineError when the outputs of the archive differ from those of the module."""
    given = dict(zip(exported.graph_signature.user_inputs, tree_leaves((args, kwargs)), strict=False))
    inputs = program.lift(tuple(given[name] for name in program.inputs))
    for name, expected in zip(program.outputs, outputs, strict=False):
        output = program.forward(inputs, name)
        finite = expected[expected.isfinite()]
        scale = finite.abs().max().item() if finite.numel() else 0.0
        if output.shape != expected.shape or not torch.allclose(output, expected, rtol=CLOSE, atol=CLOSE * scale, equal_nan=True):
            raise EngineError(
                CODE,
                f"output '{name}' of the archive is not what the module computes on the example inputs; "
                "forward must depend on its inputs alone, and not on a counter or random numbers",
            )
