"""Replaces operators that can return or overwrite memory outside their tensors.

Each module rewrites one kind of operator as safe operators with the same value and gradient.
`REWRITES` goes to `ExportedProgram.run_decompositions`, which calls the functions with the shapes
that torch traces again, never with the shapes that an upload claims.

- `padding`: `pad` in mode circular leaves parts of its result unwritten, such as with pads [n, -n].
- `embedding_bag`: with offsets that go back, the operator leaves bags unwritten.
- `weight_norm`: `_weight_norm` writes one norm for each row, even beyond the end of its buffer.
"""

from collections.abc import Callable
from typing import Any

import torch

from unitrank_engine.program.rewrites.embedding_bag import embedding_bag
from unitrank_engine.program.rewrites.padding import pad, pad_by_operator
from unitrank_engine.program.rewrites.weight_norm import weight_norm
from unitrank_engine.torch_private import OpOverload

aten = torch.ops.aten

REWRITES: dict[OpOverload, Callable[..., Any]] = {
    aten.pad.default: pad,
    **{
        operator: pad_by_operator(operator)
        for operator in (
            aten.constant_pad_nd.default,
            aten.reflection_pad1d.default,
            aten.reflection_pad2d.default,
            aten.reflection_pad3d.default,
            aten.replication_pad1d.default,
            aten.replication_pad2d.default,
            aten.replication_pad3d.default,
        )
    },
    aten.embedding_bag.default: embedding_bag,
    aten.embedding_bag.padding_idx: embedding_bag,
    aten._weight_norm.default: weight_norm,
}
"""Operator → the function that computes its result with other operators.

A function that returns NotImplemented keeps the operator.
"""

__all__ = ["REWRITES"]
