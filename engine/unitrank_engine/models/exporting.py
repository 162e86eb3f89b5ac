"""Exports a module in memory as an archive that the service accepts.

The written file is the cleaned archive: the service's own reader has accepted it on this machine.
It holds no stack traces and no example inputs, so the same network gives the same bytes on each
machine.

When the network cannot be exported, the error names the line of the model that causes it.
"""

import logging
import os
import re
import sysconfig
import traceback
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from unitrank_engine.archive import ArchiveError, load
from unitrank_engine.archive import clean as vet
from unitrank_engine.errors import EngineError
from unitrank_engine.models.inspection import manifest
from unitrank_engine.program import Program
from unitrank_engine.torch_private import HigherOrderOperator, guards_on_sizes, structured_trace, tree_leaves, tree_map
from unitrank_schemas.models import Manifest

ExampleInputs = Tensor | Sequence[Any] | Mapping[str, Any]
"""One argument, the arguments in order, or the arguments by name."""
Arguments = tuple[tuple[Any, ...], dict[str, Any]]
"""The arguments in order, and the arguments by name."""

# Pattern of the reason that torch or the reader gives → the advice for the user.
ADVICE = {
    r"data-dependent|DataDependent": "the code branches on values: use torch.where or masks, which compute both branches",
    r"symbolic size": "the size of this tensor depends on values: torch.where and masks keep the size",
    r"Constraints violated|specialized|invalid for input of size": "the size of the batch becomes a fixed number here: "
    "write x.shape[0] (len(x) is a fixed number), and -1 in view and reshape",
    r"numpy|tensor subclasses": "values leave torch here: stay with tensors, without numpy, float() and item()",
    r"not a known type": "let forward return tensors in tuples, dicts or registered data classes "
    "(for a transformer that generates: config.use_cache = False)",
    r"operator .* is not allowed": "the service runs only operators on tensors that give the same result each time: "
    "no random numbers, no item(), no operators of your own",
}
CODE = "not_exportable"
CLOSE = 1e-4
"""The accepted difference between the outputs of archive and module.

It is relative to the largest value.
"""


def export(module: nn.Module, example_inputs: ExampleInputs, path: Path) -> Manifest:
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
    if not isinstance(module, nn.Module):
        kind = type(module).__name__
        raise EngineError(CODE, f"a {kind} cannot be exported; expected a torch.nn.Module")
    folder = path.absolute().parent
    if not folder.is_dir():
        raise EngineError(CODE, f"the folder {folder} does not exist; create it before {path.name} is written")
    args, kwargs = _two_rows(*_arguments(example_inputs))
    with _evaluating(module), torch.no_grad():
        exported = _exported(module, args, kwargs)
        outputs = _outputs(module, args, kwargs)
    with TemporaryDirectory(dir=folder) as inner:
        clean = Path(inner, "clean.pt2")
        program = _vetted(exported, clean)
        _check_outputs(program, exported, args, kwargs, outputs)
        description = manifest(program)
        os.replace(clean, path)
    return description


def _arguments(examples: ExampleInputs) -> Arguments:
    if isinstance(examples, Mapping):
        return (), dict(examples)
    if isinstance(examples, Sequence):
        return tuple(examples), {}
    return (examples,), {}


def _two_rows(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Arguments:
    """The same arguments with two rows instead of one, because torch takes a size of 1 as fixed."""
    rows = {len(leaf) for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor) and leaf.dim()}
    if not rows:
        raise EngineError(
            CODE, "the example inputs hold no tensor whose first axis could be the batch; pass tensors with one row or more"
        )
    if len(rows) > 1:
        counts = sorted(rows)
        raise EngineError(
            CODE, f"the example inputs have {counts} rows; the first axis of each tensor is the batch, and must have one size"
        )

    def doubled(leaf: Any) -> Any:
        if not isinstance(leaf, Tensor) or not leaf.dim():
            return leaf
        # Each argument is a copy: torch would take a tensor that is passed twice for one input.
        return torch.cat([leaf, leaf]) if len(leaf) == 1 else leaf.clone()

    doubled_args, doubled_kwargs = tree_map(doubled, (args, kwargs))
    return doubled_args, doubled_kwargs


def _exported(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> ExportedProgram:
    batch = torch.export.Dim("batch", min=1)
    shapes = tree_map(lambda leaf: {0: batch} if isinstance(leaf, Tensor) and leaf.dim() else None, kwargs or args)
    try:
        with quiet():
            exported = torch.export.export(module, args, kwargs, dynamic_shapes=shapes)
            if any(isinstance(node.target, HigherOrderOperator) for node in exported.graph.nodes):
                # Decomposing inlines regions without gradients, which are separate graphs.
                exported = exported.run_decompositions({})
    except Exception as error:
        raise _refused(str(error), _line_of(error) or _line_of_fixed_size(module, args, kwargs, shapes)) from error
    return exported


def _outputs(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Tensor]:
    """The tensors that the module returns. Raises EngineError if it does not run.

    `torch.export` accepts some inputs on which the module fails, such as integers for a dense
    layer.
    """
    try:
        outputs = module(*args, **kwargs)
    except Exception as error:
        raise _refused(f"it does not run on the example inputs: {error}", _line_of(error)) from error
    return [leaf for leaf in tree_leaves(outputs) if isinstance(leaf, Tensor)]


def _vetted(exported: ExportedProgram, clean: Path) -> Program:
    """The program as the service would load it. Its clean archive is written to `clean`."""
    raw = clean.with_name("raw.pt2")
    try:
        with quiet():
            torch.export.save(exported, raw)
            vet(raw, clean)
            return Program.from_exported(load(clean))
    except ArchiveError as error:
        raise _refused(error.detail, _line_of_node(exported, error)) from error


def _check_outputs(
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


def _refused(reason: str, line: traceback.FrameSummary | None) -> EngineError:
    first = next((part.strip() for part in reason.splitlines() if part.strip()), "torch.export gave no reason")
    advice = next((f"\n{sentence}" for pattern, sentence in ADVICE.items() if re.search(pattern, reason)), "")
    place = f"\n  {line.filename}:{line.lineno}, in {line.name}\n    {line.line}" if line else ""
    return EngineError(CODE, f"the network cannot be exported: {first}{place}{advice}")


def _line_of(error: BaseException) -> traceback.FrameSummary | None:
    """The last line of the error's traceback that is not in torch."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if _is_user_code(frame)]
    return frames[-1] if frames else None


def _line_of_fixed_size(
    module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], shapes: Any
) -> traceback.FrameSummary | None:
    """The line that turns the size of the batch into a fixed number.

    torch names this line only in its structured trace, so the module is exported again with that
    trace.
    """
    with quiet(), structured_trace() as trace:
        with suppress(Exception):
            # This export raises the same error as the first export, which is reported already.
            torch.export.export(module, args, kwargs, dynamic_shapes=shapes)
        frames = [frame for stack in guards_on_sizes(trace) for frame in stack]
    return next((frame for frame in frames if _is_user_code(frame)), None)


def _line_of_node(exported: ExportedProgram, error: ArchiveError) -> traceback.FrameSummary | None:
    """The line of the first node that the reader refuses.

    The node calls a refused operator, or the size of its result depends on values.
    """
    for node in exported.graph.nodes:
        named = node.op == "call_function" and f"'torch.ops.{node.target}'" in error.detail
        sized = error.code == "expression_refused" and re.search(r"\bu\d", str(getattr(node.meta.get("val"), "shape", "")))
        if named or sized:
            entries = re.findall(r'File "(.+)", line (\d+), in (\w+)\n\s*(.*)', node.meta.get("stack_trace") or "")
            frames = [traceback.FrameSummary(file, int(number), name, line=line) for file, number, name, line in entries]
            return next((frame for frame in reversed(frames) if _is_user_code(frame)), None)
    return None


def _is_user_code(frame: traceback.FrameSummary) -> bool:
    excluded = (str(Path(torch.__file__).parent), sysconfig.get_path("stdlib") + os.sep + "contextlib", __file__, "<")
    return not frame.filename.startswith(excluded)


@contextmanager
def _evaluating(module: nn.Module) -> Iterator[None]:
    """Puts the module in evaluation mode; at the end, each part gets its old mode again."""
    before = {part: part.training for part in module.modules()}
    module.eval()
    try:
        yield
    finally:
        for part, training in before.items():
            part.training = training


@contextmanager
def quiet() -> Iterator[None]:
    """Hides the warnings and logs of torch, which repeat the error at length."""
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), redirect_stdout(StringIO()), redirect_stderr(StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logging.NOTSET)
