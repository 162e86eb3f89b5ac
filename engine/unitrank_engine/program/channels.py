"""Finds the axis of a value that counts its channels."""

import torch
from torch import fx

from unitrank_engine.program.nodes import operator_name

# Operators whose result has its channels on the first axis after the batch, or on the last axis.
FIRST = (
    "aten::conv", "aten::_convolution", "aten::batch_norm", "aten::_native_batch_norm", "aten::native_batch_norm",
    "aten::group_norm", "aten::native_group_norm", "aten::instance_norm", "aten::max_pool", "aten::avg_pool",
    "aten::adaptive", "aten::upsample", "aten::pixel_",
)  # fmt: skip
LAST = ("aten::linear", "aten::addmm", "aten::layer_norm", "aten::native_layer_norm", "aten::rms_norm", "aten::embedding",
        "aten::lstm", "aten::gru", "aten::rnn", "aten::scaled_dot", "aten::matmul", "aten::bmm", "aten::mm")  # fmt: skip


def channel_axis(node: fx.Node, batch: int, rank: int) -> int:
    """The axis of the channels, as an index of the shape without the batch.

    The operators before the node decide. After a convolution, a pooling or a norm over channels,
    the channels are on the first axis; after a dense layer, an embedding or a layer norm, on the
    last axis. Without such an operator, values with three axes or more besides the batch have their
    channels first, other values last.

    `batch`: the axis of the batch.
    `rank`: the number of axes, with the batch.
    """
    if rank <= 2:
        return 0
    for _ in range(64):
        name = operator_name(node)
        if name.startswith(FIRST):
            return 0
        if name.startswith(LAST):
            return rank - 2
        if name == "aten::permute" or name.startswith("aten::transpose"):
            break
        sources = [source for source in node.all_input_nodes if _rank(source) == rank or "getitem" in str(node.target)]
        if not sources:
            sources = [source for source in node.all_input_nodes if "getitem" in str(source.target)]
        if not sources:
            break
        node = sources[0]
    return 0 if rank >= 4 else rank - 2


def _rank(node: fx.Node) -> int | None:
    value = node.meta.get("val")
    return value.dim() if isinstance(value, torch.Tensor) else None
