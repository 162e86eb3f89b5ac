"""Arguments that torch does not check: a wrong one makes it read or write in memory that is not its own."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import fx

from unitrank_engine.archive.errors import ArchiveError, shown
from unitrank_engine.torch_private import OpOverload, argument_names

# torch takes the bare number of a type as well, and uses it as an index without looking.
_KINDS = {"dtype": torch.dtype, "layout": torch.layout, "memory_format": torch.memory_format, "device": torch.device}
# Beyond it the place that a pixel comes from is infinite, and its number the smallest there is.
_SCALES = (2.0**-20, 2.0**20)


def check_arguments(graph: fx.Graph) -> None:
    """Nothing, where types are types and scales have a size. Raises ArchiveError."""
    for node in graph.nodes:
        for name, value in _given(node):
            if name in _KINDS and not isinstance(value, _KINDS[name] | None):
                _refuse(node, name, value, f"a {name}")
            if name.startswith("scale") and "upsample" in str(node.target) and not _is_scale(value):
                _refuse(node, name, value, "a number between 2^-20 and 2^20")


def _given(node: fx.Node) -> Iterator[tuple[str, Any]]:
    """The arguments by name; their values are whatever the graph holds."""
    if isinstance(node.target, OpOverload):
        names = argument_names(node.target)
        yield from zip(names, node.args, strict=False)
        yield from node.kwargs.items()


def _is_scale(value: object) -> bool:
    if isinstance(value, list | tuple):
        return all(map(_is_scale, value))
    return value is None or (isinstance(value, int | float) and _SCALES[0] <= value <= _SCALES[1])


def _refuse(node: fx.Node, name: str, value: object, expected: str) -> None:
    raise ArchiveError("program_refused", f"{name} of {node.target} is {shown(value)}; expected {expected}")
