"""Lists the operators that are affine.

After the last nonlinearity of a model, each method that multiplies by a difference from the
baseline is exact.
"""

from typing import Any

import torch
from torch import fx

from unitrank_engine.program.contracts.finite import finite
from unitrank_engine.program.nodes import operator_name
from unitrank_engine.program.places import SHAPE_ONLY

_NAMES = """
    conv_transpose1d conv_transpose2d conv_transpose3d
    reshape view _unsafe_view permute transpose t flatten squeeze unsqueeze unflatten movedim clone contiguous alias detach
    expand expand_as repeat cat stack slice select narrow split split_with_sizes chunk unbind unfold im2col col2im diagonal
    _fft_r2c _fft_c2c _fft_c2r complex view_as_real view_as_complex _conj_physical
    slice_scatter select_scatter diagonal_scatter
    affine_grid_generator block_diag scatter_add index_add
    tril triu roll flip constant_pad_nd pad to _to_copy pixel_shuffle pixel_unshuffle
    reflection_pad1d reflection_pad2d reflection_pad3d replication_pad1d replication_pad2d replication_pad3d
    upsample_nearest1d upsample_nearest2d upsample_nearest3d upsample_linear1d upsample_bilinear2d upsample_bicubic2d
    upsample_trilinear3d
    add sub rsub neg mean sum cumsum avg_pool1d avg_pool2d avg_pool3d
    adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d
    dropout batch_norm _native_batch_norm_legit_no_training
"""
LINEAR = frozenset(f"aten::{name}" for name in _NAMES.split())

SAMPLING = frozenset({"aten::grid_sampler_2d", "aten::grid_sampler_3d"})
"""Operators that are linear in their first argument, if only this argument varies."""

_PRODUCTS = "mul matmul mm bmm linear conv1d conv2d conv3d convolution"
FACTORS: dict[str, tuple[int, int]] = {
    **{f"aten::{name}": (0, 1) for name in _PRODUCTS.split()},
    **{f"aten::{name}": (1, 2) for name in ("addmm", "baddbmm", "addbmm", "addcmul")},
}
"""Products → the positions of their two factors.

A product is linear when one factor is constant.
"""


def is_linear(node: fx.Node, dependent: set[fx.Node]) -> bool:
    """Whether the node is an affine function of the nodes in `dependent`.

    All other nodes are taken as constants.
    """
    value = node.meta.get("val")
    if isinstance(value, torch.Tensor) and not (value.dtype.is_floating_point or value.dtype.is_complex):
        # A cast to whole numbers rounds.
        return False
    name = operator_name(node)
    if name in FACTORS:
        return not all(node.args[position] in dependent for position in FACTORS[name])
    if name == "aten::div":
        return node.args[1] not in dependent and node.kwargs.get("rounding_mode") is None
    if name == "aten::einsum":
        factors: Any = node.args[1]  # Any: the type of an argument is that of all nodes
        return sum(factor in dependent for factor in factors) == 1
    if name in SAMPLING:
        return node.args[0] in dependent and not any(
            source in dependent for source in node.all_input_nodes if source is not node.args[0]
        )
    return name in LINEAR or node.target is finite or "getitem" in str(node.target) or bool(SHAPE_ONLY.match(name))
