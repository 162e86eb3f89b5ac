"""Checks max pooling with gaps: torch's kernels give a window without elements a false position.

A window of padding alone has no element if the gap between its elements (`dilation`) leaps over the
whole axis. The kernel then returns a position behind the axis, and the gradient's kernel adds to
the memory there.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import fx

from unitrank_engine.errors import EngineError

aten = torch.ops.aten

POOLS: dict[object, int] = {
    aten.max_pool1d.default: 1,
    aten.max_pool2d.default: 2,
    aten.max_pool2d_with_indices.default: 2,
    aten.max_pool3d.default: 3,
    aten.max_pool3d_with_indices.default: 3,
}
"""Operator → number of its axes."""


def check_pool(node: fx.Node, arguments: Mapping[str, Any]) -> None:
    """Raises EngineError `program_refused` if a window can be without elements.

    Without padding, or with a dilation of at most the axis, each window has an element.
    """
    axes = POOLS[node.target]
    sizes = arguments["self"].meta["val"].shape[-axes:]
    padding = _each(arguments.get("padding", 0), axes)
    dilation = _each(arguments.get("dilation", 1), axes)
    for size, pad, gap in zip(sizes, padding, dilation, strict=True):
        # A symbolic size is not compared: the comparison would turn the symbol into a number.
        if pad != 0 and gap != 1 and not (isinstance(gap, int) and isinstance(size, int) and gap <= size):
            raise EngineError(
                "program_refused",
                f"{node.name} ({node.target}): the padding is {pad} and the dilation {gap}, but the axis has the size {size}, so "
                "that a window can be without elements; expected no padding, or a dilation of at most the size",
            )


def _each(value: Any, axes: int) -> Sequence[Any]:
    """One value for each axis, of a number or a list of one or all."""
    values = value if isinstance(value, Sequence) else [value]
    return [*values] * axes if len(values) == 1 else [*values]
