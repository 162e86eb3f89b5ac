"""The example inputs of an export as the arguments of a module."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from unitrank_engine.errors import EngineError
from unitrank_engine.models.exporting.refusals import CODE
from unitrank_engine.torch_private import tree_leaves, tree_map

ExampleInputs = Tensor | Sequence[Any] | Mapping[str, Any]
"""One argument, the arguments in order, or the arguments by name."""
Arguments = tuple[tuple[Any, ...], dict[str, Any]]
"""The arguments in order, and the arguments by name."""


def arguments_of(examples: ExampleInputs) -> Arguments:
    """The example inputs as arguments of `forward`."""
    if isinstance(examples, Mapping):
        return (), dict(examples)
    if isinstance(examples, Sequence):
        return tuple(examples), {}
    return (examples,), {}


def two_rows(arguments: Arguments) -> Arguments:
    """The same arguments with two rows instead of one, because torch takes a size of 1 as fixed."""
    rows = {len(leaf) for leaf in tree_leaves(arguments) if isinstance(leaf, Tensor) and leaf.dim()}
    if not rows:
        raise EngineError(
            CODE, "the example inputs hold no tensor whose first axis could be the batch; pass tensors with one row or more"
        )
    if rows == {0}:
        raise EngineError(CODE, "the example inputs have no rows; pass tensors with one row or more")
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

    args, kwargs = tree_map(doubled, arguments)
    return args, kwargs


def spread(arguments: Arguments) -> Iterator[Arguments]:
    """The same arguments with random real numbers, of the examples' size and of a larger size.

    Whole numbers stay as they are, because any others may be invalid.
    """
    for factor in (1.0, 4.0):
        generator = torch.Generator().manual_seed(0)
        args, kwargs = tree_map(partial(_normal, factor=factor, generator=generator), arguments)
        yield args, kwargs


def _normal(leaf: Any, *, factor: float, generator: torch.Generator) -> Any:
    if not isinstance(leaf, Tensor) or not leaf.is_floating_point():
        return leaf
    size = leaf.double().nan_to_num(0.0, 0.0, 0.0).square().mean().sqrt().clamp(min=1.0).item()
    return (torch.randn(leaf.shape, generator=generator) * size * factor).to(leaf)
