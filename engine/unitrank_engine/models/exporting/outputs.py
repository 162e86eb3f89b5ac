"""Compares the outputs of an archive with those of its module."""

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from unitrank_engine.errors import EngineError, is_out_of_memory
from unitrank_engine.models.exporting.arguments import Arguments
from unitrank_engine.models.exporting.lines import line_of
from unitrank_engine.models.exporting.preparation import without_caches
from unitrank_engine.models.exporting.refusals import CODE, Fault, by_examples, refusal
from unitrank_engine.program import Program
from unitrank_engine.torch_private import tree_leaves

CLOSE = 1e-4
"""The accepted difference between the outputs of archive and module.

It is relative to the largest value.
"""


def outputs_of(module: nn.Module, arguments: Arguments) -> list[Tensor]:
    """The tensors that the module returns. Raises EngineError if it does not run.

    `torch.export` accepts some inputs on which the module fails, such as integers for a dense
    layer.
    """
    try:
        outputs = without_caches(module(*arguments[0], **arguments[1]))
    except Exception as error:
        raise by_examples(error, line_of(error)) from error
    tensors = [leaf for leaf in tree_leaves(outputs) if isinstance(leaf, Tensor)]
    if not tensors:
        raise refusal(Fault("forward returns no tensor", "let forward return the tensor whose values are explained"))
    return tensors


def check_rows(program: Program, exported: ExportedProgram, arguments: Arguments) -> None:
    """Raises EngineError when the archive fails with one example row, or with one row more."""
    inputs = _inputs(program, exported, arguments)
    first = tuple(tensor[:1] for tensor in inputs)
    more = tuple(torch.cat([tensor, tensor[:1]]) for tensor in inputs)
    for chosen in (first, more):
        try:
            program.forward(program.lift(chosen), next(iter(program.outputs)))
        except EngineError:
            raise
        except Exception as error:
            if is_out_of_memory(error):
                raise
            counts = f"{len(inputs[0])} rows of the example inputs, and fails with {len(chosen[0])}"
            fault = Fault(f"the network runs with {counts}", "replace fixed sizes such as x.view(2, -1) by x.view(x.shape[0], -1)")
            raise refusal(fault, quoted=str(error)) from error


def check_outputs(program: Program, exported: ExportedProgram, arguments: Arguments, outputs: list[Tensor]) -> None:
    """Raises EngineError when the outputs of the archive differ from those of the module."""
    inputs = program.lift(_inputs(program, exported, arguments))
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


def _inputs(program: Program, exported: ExportedProgram, arguments: Arguments) -> tuple[Tensor, ...]:
    """The example inputs in the order of the program's inputs."""
    given = dict(zip(exported.graph_signature.user_inputs, tree_leaves(arguments), strict=False))
    return tuple(given[name] for name in program.inputs)
