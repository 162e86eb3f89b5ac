"""Runs the engine in process: takes a module and arrays, and returns a summary and arrays."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from unitrank_engine.job.passes import PassRunner
from unitrank_engine.pipeline import run
from unitrank_engine.program import Program
from unitrank_engine.reuse.parts import PartStore
from unitrank_schemas.jobs import JobRequest
from unitrank_schemas.methods import with_ids
from unitrank_tables import open_table

RESOLVED = {"model": {"name": "m", "digest": "sha256:" + "0" * 64}, "dataset": {"name": "d", "digest": "sha256:" + "1" * 64}}


def export(module: nn.Module, *example: torch.Tensor) -> torch.export.ExportedProgram:
    """The module exported in evaluation mode with a dynamic batch."""
    shapes = tuple({0: torch.export.Dim("batch", min=1)} for _ in example)
    return torch.export.export(module.eval(), example, dynamic_shapes=shapes)


def program_of(module: nn.Module, *example: torch.Tensor) -> Program:
    return Program.from_exported(export(module, *example))


def rank(
    program: Program,
    folder: Path,
    fields: dict[str, np.ndarray],
    layer: str | list[str],
    methods: list[Any],
    *,
    parts: PartStore | None = None,
    runner: PassRunner | None = None,
    **request: Any,
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The summary and the arrays of a job.

    `inputs`, `labels` and `target` have the usual defaults.
    """
    path = folder / "data.npz"
    np.savez(path, **fields)
    request.setdefault("inputs", {name: name if name in fields else "x" for name in program.inputs})
    request.setdefault("labels", "y" if "y" in fields else None)
    request.setdefault("target", {"class": "label" if request["labels"] else "predicted"})
    parsed = JobRequest.model_validate({"model": "m", "dataset": "d", "layer": layer, "methods": methods, **request})
    parsed = parsed.model_copy(update={"methods": with_ids(parsed.methods)})
    with open_table(path) as table:
        return run(parsed, RESOLVED, program, table, lambda progress: None, parts=parts, runner=runner)
