"""Finds the line of the user's code that a refusal is about."""

import os
import re
import sysconfig
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import jaxtyping
import torch
from torch import fx
from torch.export import ExportedProgram

from unitrank_engine.archive import ArchiveError
from unitrank_engine.models.exporting.quiet import quiet
from unitrank_engine.torch_private import guards_on_sizes, structured_trace


def line_of(error: BaseException) -> traceback.FrameSummary | None:
    """The last line of the error's traceback that is not in torch."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if is_user_code(frame)]
    return frames[-1] if frames else None


def line_of_fixed_size(export: Callable[[], object]) -> traceback.FrameSummary | None:
    """The line that turns the size of the batch into a fixed number.

    torch names this line only in its structured trace, so `export` is called again with that trace.
    """
    with quiet(), structured_trace() as trace:
        with suppress(Exception):
            # This export raises the same error as the first export, which is reported already.
            export()
        frames = [frame for stack in guards_on_sizes(trace) for frame in stack]
    return next((frame for frame in frames if is_user_code(frame)), None)


def line_of_node(exported: ExportedProgram, error: ArchiveError) -> traceback.FrameSummary | None:
    """The line of the first node that the reader refuses.

    The node calls a refused operator, or the size of its result depends on values.
    """
    for node in exported.graph.nodes:
        named = node.op == "call_function" and f"'torch.ops.{node.target}'" in error.detail
        sized = error.code == "expression_refused" and re.search(r"\bu\d", str(getattr(node.meta.get("val"), "shape", "")))
        if named or sized:
            return line_of_stack(node)
    return None


def line_of_stack(node: fx.Node) -> traceback.FrameSummary | None:
    """The user's line that the node was captured at."""
    entries = re.findall(r'File "(.+)", line (\d+), in (\w+)\n\s*(.*)', node.meta.get("stack_trace") or "")
    frames = [traceback.FrameSummary(file, int(number), name, line=line) for file, number, name, line in entries]
    return next((frame for frame in reversed(frames) if is_user_code(frame)), None)


def is_user_code(frame: traceback.FrameSummary) -> bool:
    """Whether the line is not in torch, in jaxtyping or in this folder."""
    excluded = (
        str(Path(torch.__file__).parent),
        sysconfig.get_path("stdlib") + os.sep + "contextlib",
        str(Path(__file__).parent),
        str(Path(jaxtyping.__file__).parent),
        "<",
    )
    return not frame.filename.startswith(excluded)
