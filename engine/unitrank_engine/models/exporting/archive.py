"""Writes the archive of a module in memory."""

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import torch
from torch import nn
from torch.export import ExportedProgram

from unitrank_engine.archive import ArchiveError, add_heads, add_mark, load
from unitrank_engine.archive import clean as vet
from unitrank_engine.errors import EngineError
from unitrank_engine.models.exporting.arguments import Arguments, ExampleInputs, arguments_of, two_rows
from unitrank_engine.models.exporting.backward_passes import refuse_inference_mode, without_backward_hooks
from unitrank_engine.models.exporting.capture import captured
from unitrank_engine.models.exporting.gradients import check_gradients, differentiating
from unitrank_engine.models.exporting.lines import line_of_node
from unitrank_engine.models.exporting.outputs import check_outputs, check_rows, outputs_of
from unitrank_engine.models.exporting.preparation import prepared
from unitrank_engine.models.exporting.quiet import quiet
from unitrank_engine.models.exporting.reasons.always_random import always_random
from unitrank_engine.models.exporting.reasons.diagnosis import sequence_first
from unitrank_engine.models.exporting.reasons.recognition import check_module
from unitrank_engine.models.exporting.refusals import CODE, Fault, refusal, refused
from unitrank_engine.models.heads import named_heads
from unitrank_engine.models.inspection import manifest
from unitrank_engine.program import Program
from unitrank_schemas.models import Manifest

Result = TypeVar("Result")


def export(module: object, example_inputs: ExampleInputs, path: Path) -> Manifest:
    """Exports the module, in evaluation mode and for any batch size, and returns its manifest.

    `module`: the network; it is left unchanged.
    `example_inputs`: inputs with the batch on the first axis. Their values do not matter.
    `path`: the file that is written.

    Raises EngineError `not_exportable` with the line of the model that cannot be exported; no file
    is written then.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     manifest = export(nn.Linear(4, 2), torch.zeros(1, 4), Path(folder, "model.pt2"))
    >>> manifest.parameters, [port.shape for port in manifest.outputs]
    (10, [[None, 2]])
    """
    root = check_module(module)
    folder = path.absolute().parent
    if not folder.is_dir():
        raise EngineError(CODE, f"the folder {folder} does not exist; create it before {path.name} is written")
    with torch.inference_mode(False), prepared(root) as network, TemporaryDirectory(dir=folder) as inner:
        args, kwargs = two_rows(arguments_of(example_inputs))
        clean = Path(inner, "clean.pt2")
        refuse_inference_mode(network, args, kwargs)
        program, exported = _program(network, args, kwargs, clean=clean)
        check_rows(program, exported, (args, kwargs))
        gradients = check_gradients(
            network,
            args,
            kwargs,
            program=program,
            exported=exported,
            program_of=partial(_program, clean=clean.with_name("double.pt2")),
        )
        description = _manifest(program, network).model_copy(update={"gradients": gradients})
        # The mark has the digest of the archive without further entries.
        if gradients == "checked":
            add_mark(clean)
        if heads := named_heads(network):
            add_heads(clean, heads)
        os.replace(clean, path)
    return description


def _program(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], *, clean: Path) -> tuple[Program, ExportedProgram]:
    """The program as the service would load it, and as torch.export gives it."""
    with without_backward_hooks(module):
        exported = _without_gradients_if_needed(captured, module, (args, kwargs))
    outputs = _without_gradients_if_needed(outputs_of, module, (args, kwargs))
    program = vetted(exported, clean)
    check_outputs(program, exported, (args, kwargs), [output.detach() for output in outputs])
    return program, exported


def _manifest(program: Program, module: nn.Module) -> Manifest:
    """The manifest. An error about rows also names a layer that takes the sequence on axis 0."""
    try:
        return manifest(program, named_heads(module))
    except EngineError as error:
        advice = sequence_first(module) if error.code == "rows_depend" else ""
        raise EngineError(error.code, f"{error.detail}\n{advice}") if advice else error from error


def _without_gradients_if_needed(step: Callable[[nn.Module, Arguments], Result], module: nn.Module, arguments: Arguments) -> Result:
    """The result of the step with gradients enabled, or without where the module runs only so."""
    try:
        with differentiating(module):
            return step(module, arguments)
    except EngineError as error:
        if "grad" not in error.detail:
            raise
        with torch.no_grad():
            return step(module, arguments)


def vetted(exported: ExportedProgram, clean: Path) -> Program:
    """The program as the service would load it. Its clean archive is written to `clean`."""
    raw = clean.with_name("raw.pt2")
    try:
        with quiet():
            torch.export.save(exported, raw)
            vet(raw, clean)
            return Program.from_exported(load(clean))
    except NotImplementedError as error:
        # torch.export.save has no format for the classes of some containers.
        fault = Fault("forward returns a container that torch cannot write", "let forward return tensors in plain tuples and dicts")
        raise refusal(fault, quoted=str(error)) from error
    except EngineError as error:
        if error.code != "training_mode":
            raise
        raise always_random(exported, error) from error
    except ArchiveError as error:
        raise refused(error.detail, line_of_node(exported, error)) from error
