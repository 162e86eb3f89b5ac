"""Replaces operators that can return or overwrite memory outside their tensors.

Each module rewrites one kind of operator as safe operators with the same value and gradient.
`REWRITES` goes to `ExportedProgram.run_decompositions`, which calls the functions with the shapes
that torch traces again, never with the shapes that an upload claims.

- `padding`: `pad` in mode circular leaves parts of its result unwritten, such as with pads [n, -n].
- `embedding_bag`: with offsets that go back, the operator leaves bags unwritten.
- `weight_norm`: `_weight_norm` writes one norm for each row, even beyond the end of its buffer.
- `unpooling`, `repeats`: the kernels of a GPU use positions without a check.
- `scatters`: older operators have no derivative, or count without bounds.
- `rrelu`: the kernel draws random numbers in training mode.
- `complex_numbers`, `short_time_fourier`: the kernels depend on the memory layout.
- `layouts`: the result of a permuted value has another layout than torch traces.
- `composites`: operators that torch composes of others.
"""

from collections.abc import Callable
from typing import Any

import torch

from unitrank_engine.program.rewrites.complex_numbers import conj, resolved, view_as_complex
from unitrank_engine.program.rewrites.composites import COMPOSITES
from unitrank_engine.program.rewrites.embedding_bag import embedding_bag
from unitrank_engine.program.rewrites.layouts import in_order
from unitrank_engine.program.rewrites.padding import pad, pad_by_operator
from unitrank_engine.program.rewrites.repeats import repeat_interleave
from unitrank_engine.program.rewrites.rrelu import rrelu
from unitrank_engine.program.rewrites.scatters import histc, scatter_reduced, scatter_value_reduced
from unitrank_engine.program.rewrites.short_time_fourier import istft, stft, stft_centred
from unitrank_engine.program.rewrites.unpooling import max_unpool2d, max_unpool3d
from unitrank_engine.program.rewrites.weight_norm import weight_norm
from unitrank_engine.torch_private import OpOverload, composed

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
    aten.max_unpool2d.default: max_unpool2d,
    aten.max_unpool3d.default: max_unpool3d,
    aten.repeat_interleave.self_Tensor: repeat_interleave,
    aten.rrelu.default: rrelu,
    aten.scatter.reduce: scatter_reduced,
    aten.scatter.value_reduce: scatter_value_reduced,
    aten.histc.default: histc,
    aten.view_as_complex.default: view_as_complex,
    aten.conj.default: conj,
    aten._conj.default: conj,
    aten.resolve_conj.default: resolved,
    aten.resolve_neg.default: resolved,
    aten.stft.default: stft,
    aten.stft.center: stft_centred,
    aten.istft.default: istft,
    aten._native_batch_norm_legit_no_training.default: in_order(aten._native_batch_norm_legit_no_training.default, axes=3),
    aten.max_pool1d.default: in_order(aten.max_pool1d.default, axes=3),
    aten.conv3d.default: in_order(aten.conv3d.default, axes=5),
    aten.conv_transpose3d.input: in_order(aten.conv_transpose3d.input, axes=5),
    **{operator: composed(operator) for operator in COMPOSITES},
}
"""Operator → the function that computes its result with other operators.

A function that returns NotImplemented keeps the operator.
"""

__all__ = ["REWRITES"]
