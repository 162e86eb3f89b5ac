"""Checks arguments that torch does not check.

With a wrong argument of this kind, torch reads or writes memory outside its tensors.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import fx

from unitrank_engine.archive.errors import ArchiveError, escaped
from unitrank_engine.torch_private import OpOverload, argument_names, integer_arguments

# torch also accepts the bare number of a type, and uses the number as an index without a check.
_KINDS = {"dtype": torch.dtype, "layout": torch.layout, "memory_format": torch.memory_format, "device": torch.device}
# Sizes and positions of an axis. torch writes the largest integer for the end of a slice.
_SIZES = {"size", "shape", "sizes", "start", "end", "length", "split_size", "split_sizes", "output_size", "HxW"}
_LARGEST = 2**40
# All other integers: with a larger one, sums and products of offsets and sizes exceed 64 bits.
_LARGEST_OTHER = 2**31 - 1
# With a larger or smaller scale, upsampling computes an infinite source position.
# Cast to an integer, that position is the smallest integer there is.
_SCALES = (2.0**-20, 2.0**20)


def check_arguments(graph: fx.Graph) -> None:
    """Raises ArchiveError `program_refused` for an argument that torch would use unchecked.

    A type must be a type and not its number. A scale of upsampling must be between 2^-20 and 2^20.
    A size must be between -2^40 and 2^40, and another integer, such as an offset, between -2^31 and
    2^31.
    """
    for node in graph.nodes:
        _check_integers(node)
        for name, value in _named_arguments(node):
            if name in _KINDS and not isinstance(value, _KINDS[name] | None):
                raise _refusal(node, name, value, f"a {name}")
            if name.startswith("scale") and "upsample" in str(node.target) and not _is_scale(value):
                raise _refusal(node, name, value, "a number between 2^-20 and 2^20")


def _named_arguments(node: fx.Node) -> Iterator[tuple[str, Any]]:
    # Any: an argument can be of any type that a graph holds.
    if isinstance(node.target, OpOverload):
        names = argument_names(node.target)
        yield from zip(names, node.args, strict=False)
        yield from node.kwargs.items()


def _check_integers(node: fx.Node) -> None:
    if not isinstance(node.target, OpOverload):
        return
    integers = integer_arguments(node.target)
    for name, value in _named_arguments(node):
        sliced = name in ("start", "end") and "slice" in str(node.target)
        if name in integers and not sliced:
            largest = _LARGEST if name in _SIZES else _LARGEST_OTHER
            numbers = value if isinstance(value, list | tuple) else [value]
            if any(type(number) is int and abs(number) > largest for number in numbers):
                raise _refusal(node, name, value, f"integers between -{largest} and {largest}")


def _is_scale(value: object) -> bool:
    if isinstance(value, list | tuple):
        return all(map(_is_scale, value))
    return value is None or (isinstance(value, int | float) and _SCALES[0] <= value <= _SCALES[1])


def _refusal(node: fx.Node, name: str, value: object, expected: str) -> ArchiveError:
    return ArchiveError("program_refused", f"argument {name} of {node.target} is {escaped(value)}; expected {expected}")
